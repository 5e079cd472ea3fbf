"""Check the installed packages for known vulnerabilities by pip-audit, if it has a list of them.

pip-audit also succeeds when its source knows none of the packages, as behind a mirror of PyPI
without vulnerability data, and ends with a traceback when there is no network.
"""

import json
import subprocess
import sys

COMMAND = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off"]


def main() -> int:
    """Print the vulnerabilities; return 1 if there are any."""
    found = subprocess.run(COMMAND, capture_output=True, text=True)
    try:
        packages = json.loads(found.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (found.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"audit skipped: pip-audit reached no list of vulnerabilities ({reason[:200]})")
        return 0
    audited = [package for package in packages if "skip_reason" not in package]
    if not audited:
        print(f"audit skipped: the list of vulnerabilities knows none of {len(packages)} packages")
        return 0
    weak = [package for package in audited if package["vulns"]]
    for package in weak:
        names = ", ".join(vulnerability["id"] for vulnerability in package["vulns"])
        print(f"{package['name']} {package['version']}: {names}")
    print(f"{len(audited)} of {len(packages)} packages audited, {len(weak)} with known weaknesses")
    return 1 if weak else 0


if __name__ == "__main__":
    raise SystemExit(main())
