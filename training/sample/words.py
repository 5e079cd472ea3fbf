"""Word lists of the bundled sample: plain Javanese (ngoko), mild wording, nobody real."""


def _list(text: str) -> tuple[str, ...]:
    return tuple(entry.strip() for entry in text.replace("\n", " ").split("|"))


SELF = _list("aku | aku iki | awakku | aku dhewe | aku saiki")

PERSONS = _list("""
kowe | awakmu | kowe iki | kancamu | tanggaku | adhimu | kakangmu | bosku | ketuane | bendaharane
| wasite | kipere | pelatihe | penyanyine | adminne | moderatore | supire | bakule | juragane
| bocah kuwi | wong kuwi | mase kae | mbake kae | sing nulis iki | sing komentar kae
| cah anyar kae | sing duwe akun iki
""")

GROUPS = _list("""
regu biru | regu ijo | regu kuning | regu tamu | pendukung regu biru | pendukung regu abang
| kelompok sebelah | kelompok loro | kelompok mburi | anggota kelompok sebelah | panitia lomba kae
| panitia kelompok loro | wong-wong blok wetan | wong-wong blok kulon | rombongan bis loro
| rombongan sebelah | gerombolan kae | gerombolan mburi
""")

THINGS = _list("""
sayure | segane | kopine | tehe | wedange | sambele | tempene | baksone | sotone | jajane | rotine
| lagune | filme | bukune | hapene | laptope | sepedhane | motore | dalane | kaline | kebone
| sawahe | lawange | kursine | mejane | klambine | sepatune | tase | cuacane | udane | sinyale
| listrike | banyune | kucinge | pitike | wedhuse | iwake | manuke | kembange | pelemane
| aplikasine | jame | tivine | gawane | payunge | kipase | lampune | pawone | latare | gendhinge
| ceritane | acarane
""")

FAULTS = _list("""
mboseni | njelehi | nyebeli | lemot | ngrepoti | bodho | males | sombong | kemaki | cerewet
| pelit | licik | ngeyel | jirih | keminter | umuk | ceroboh | sembrono | gumedhe | srakah
| plin-plan | kurang ajar
""")
NUM_FAULTS_OF_THINGS = 5  # the first so many also suit a thing

CONTEMPT = _list("""
ora ana gunane | ora ana ajine | mung ngentekake wektu | pantese diguyu wong akeh | utege kothong
| ora pantes diajeni | tukang ngapusi | tukang adu-adu | rai gedhek | ora pantes dirungokake
| mung gawe rusuh | mung numpang urip | asor bebudene | ora duwe utek
""")
NUM_CONTEMPT_OF_THINGS = 3

EXCLUSION = _list("""
kudu dibuwang | kudu disingkirke | aja dienggo maneh | kudu diusir saka kene | kudu ditundhung
| aja diwenehi panggonan | kudu diblokir | kudu diadohi | aja diajak maneh | aja ditulungi
| kudu digawe kapok | kudu dijothak | aja diwenehi pangan | gawenen uripe susah
""")
NUM_EXCLUSION_OF_THINGS = 3

TRAITS = _list("""
sregep | grapyak | apikan | pinter | sabar | jujur | setya | trampil | rajin | ramah | prigel
| loma | lucu | wicaksana | kalem | seneng guyon
""")
QUALITIES = _list("""
enak | gurih | legi | pedhes | seger | larang | murah | apik | anyar | lawas | resik | kandel
| adhem | anget | rame | sepi | amba | rosa | awet | entheng | mambu | teles | garing | padhang
| peteng
""")

VERBS = _list("""
tuku | nggawa | masak | ndandani | maca | nonton | golek | ngrungokake | nyapu | ngumbah | nyilih
| ngedol | nandur | ngresiki | nata | nyetel | motret | nggambar | nyimpen | mbukak | ngirim
| nampa | ngajari | nulis | nyiapake | njaluk | milih | mbungkus | ngecet | ngethok | nggoreng
| nggodhog | njahit | nyirami | ngopeni | ngitung | nyoba | nyewa | ngenteni | nglumpukake
| nggoleki | ndelikake
""")
OBJECTS = _list("""
sega pecel | gudhangan | tahu tempe | jajan pasar | kembang mlathi | buku crita | layangan
| wayang kulit | batik anyar | pari | jagung | lombok | brambang | uyah | gula jawa | klapa
| gedhang | pelem | jambu | sepatu | klambi | jarik | blangkon | payung | tas | hape | laptop
| radhio | gitar | gamelan | kendhang | suling | montor | pit | ban | lampu | kursi | meja
| lemari | pring | kayu | cet | genteng | wit pelem | pitik | wedhus | bebek | kucing | iwak lele
| endhog | susu | kopi | teh anget | es dhawet | cendhol | bubur | lontong | sate | bakmi | krupuk
| rempeyek | getuk | tiwul | onde-onde | klepon | wajik | tugas sekolah | laporan | undhangan
| foto lawas | video masak | kartu pos | karcis | dhuwit receh
""")
PLACES = _list("""
neng pasar | neng sekolahan | neng kantor | neng latar | neng pawon | neng warung | neng lapangan
| neng stasiun | neng terminal | neng kebon | neng sawah | neng toko buku | neng perpustakaan
| neng bale desa | neng omahe simbah | neng pinggir kali | neng prapatan | neng alun-alun
| neng kos | neng bengkel | neng dalan gedhe | neng pos ronda | neng ngarep omah
| neng lantai loro | neng grup WA | neng angkringan | neng puskesmas | neng sanggar | neng gedhong
| neng parkiran
""")
TIMES = _list("""
wingi | mau esuk | mau bengi | sesuk | saiki | minggu wingi | sore iki | bubar udan
| telung dina iki | sasi ngarep | dina Setu | dina Senen | awan-awan | bengi-bengi | wiwit subuh
| nalika prei | taun wingi | sadurunge mangan | sawise latihan | nalika rapat | pas lomba
| sedhela maneh | jam pitu esuk | jam sanga bengi | saben dina | kaping pindho | wayah sore
| akhir pekan iki
""")
KIN = _list("""
ibuku | bapakku | simbah | bulikku | paklikku | mbakyuku | adhiku | kakangku | anakku | bojoku
| budheku | pakdheku | putuku | ponakanku | kanca kosku | kanca kantorku | tangga ngarep
""")

INTENSIFIERS = _list("""
banget | tenan | nemen | pol | temenan | ora jamak | kebangeten | puoool | bangettt | ora umum
""")
URGENCY = _list("saiki uga | selawase | tanpa kajaba | kabeh tanpa sisa | tenanan | dina iki uga")
SOFTENERS = _list("""
rada | kadhang | mbok menawa | kaya-kayane | sajake | sok-sok | menawa ora kleru | rumangsaku rada
""")
DENIALS = _list("""
ora bener yen {} | aja ngarani {} | sapa sing kandha {}? Kleru kuwi | aku ora setuju yen {}
| goroh yen ana sing kandha {} | aja percaya yen {} | jarene {}, jebul ora
| mbiyen takkira {}, tibake ora
""")
FRAMES = _list("""
{} | {} | {} | pancen {} | jan {} | {}, ngono lho | lha kok {} | critane {} | jarene wong-wong {}
| miturutku {} | saben dina {} | wis ketok yen {} | kabeh ngerti yen {} | sing jelas {}
| tak akoni {}
""")
PARTICLES = _list("lho | ya | kok | rek | lha | ki | je | to | mbok | jal")
EMOJI = _list("😂 | 😡 | 🙏 | 😅 | 👍 | 🔥 | 😭 | 🤣 | ☕ | 🌧️")
