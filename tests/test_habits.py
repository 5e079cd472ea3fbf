"""Habits that the syntax shows: who changes an object, how much a module imports and names."""

import ast
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from tests.test_architecture import (
    INSTALLED,
    PACKAGES,
    ROOT,
    dotted_package,
    imported_names,
    modules,
)

_LOGGER = "a logger of Python's has no method for it"
_ONNX = "options of ONNX Runtime are attributes"
_ENCODER = "a configuration of transformers has no method for it"
_YAML = "PyYAML keeps its rules as attributes of a class"
_TOKENIZER = "a tokenizer of transformers or tokenizers has no method for it"
_FITTED = "scikit-learn sets what it has learnt as attributes; its objects are rebuilt from files"
# What may be assigned to from outside: attributes of libraries' objects. path: {attribute: reason}
ASSIGNED_FROM_OUTSIDE: dict[str, dict[str, str]] = {
    "training/baseline_files.py": dict.fromkeys(
        ("idf_", "classes_", "coef_", "intercept_"), _FITTED
    ),
    "training/classifier.py": dict.fromkeys(
        ("log_severity_level", "intra_op_num_threads", "enable_mem_pattern"), _ONNX
    ),
    "training/cli.py": {"stderr": "Python's own, where it was closed"},
    "training/encoder.py": dict.fromkeys(
        (
            *("id2label", "label2id", "problem_type", "_attn_implementation", "pad_token_id"),
            *("eos_token_id", "attention_type"),
        ),
        _ENCODER,
    ),
    "training/first_token.py": {"forward": "a module of torch computes otherwise for a while"},
    "training/model_files.py": dict.fromkeys(("log_severity_level", "intra_op_num_threads"), _ONNX),
    "training/options.py": dict.fromkeys(("yaml_implicit_resolvers", "yaml_constructors"), _YAML),
    "training/optimizer_step.py": {"grad_scale": "torch's own GradScaler hands it over like this"},
    "training/tokenizer.py": dict.fromkeys(
        (
            *("model_max_length", "model_input_names"),
            *("normalizer", "pre_tokenizer", "post_processor"),
        ),
        _TOKENIZER,
    ),
    "cluster/session.py": {"print_to_stdstream": "Ray has no setting for what it prints"},
    "results/tensorboard.py": {"version": "a message of TensorBoard's"},
    "results/wandb_tracker.py": {"notes": "a run of W&B's has no method for it"},
    "results/log.py": dict.fromkeys(("propagate", "handlers"), _LOGGER),
    "tuning/workers.py": {"handlers": _LOGGER},
}

MOST_IMPORTS = 18
"""Modules of ours that one module of `tuning` may import."""

MACRO_F1 = re.compile(r"f1_macro|macro[-_ ]f1", re.IGNORECASE)
# The objective decides, and the files of a run have columns of that name; nobody else need name
# it. Delete a line when its module no longer does.
MOST_THAT_NAME_IT = 12
NAMES_MACRO_F1 = {
    "training/metrics.py",
    "training/objective.py",
    "tuning/record.py",
    "tuning/trials.py",
    "results/score_names.py",
    "results/older_runs.py",
    "results/run.py",
    "evaluation/evaluate.py",
    "evaluation/gates.py",
    "evaluation/predictions.py",
    "evaluation/scores.py",
}


def assigned_from_outside(source: str) -> set[str]:
    """Attributes of anything but `self` and `cls` that a source assigns to."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            parts = [part for target in targets for part in ast.walk(target)]
            attributes = [part for part in parts if isinstance(part, ast.Attribute)]
            found.update(
                part.attr
                for part in attributes
                if isinstance(part.ctx, ast.Store) and not _is_own(part)
            )
    return found


def _is_own(target: ast.Attribute) -> bool:
    return isinstance(target.value, ast.Name) and target.value.id in ("self", "cls")


def _assigning_modules() -> dict[str, set[str]]:
    found = {
        str(path.relative_to(ROOT)): assigned_from_outside(path.read_text("utf-8"))
        for path in modules(*INSTALLED)
    }
    return {path: attributes for path, attributes in found.items() if attributes}


def _beyond(found: Mapping[str, set[str]], known: Mapping[str, Iterable[str]]) -> list[str]:
    """`path: name` for each name that `known` does not have."""
    return [
        f"{path}: {name}"
        for path, names in sorted(found.items())
        for name in sorted(names - set(known.get(path, ())))
    ]


def test_an_object_of_ours_is_changed_by_its_own_methods_alone() -> None:
    problems = _beyond(_assigning_modules(), ASSIGNED_FROM_OUTSIDE)
    assert not problems, "assigned from outside; give the object a method: " + ", ".join(problems)


def test_every_exception_for_assignments_from_outside_is_needed() -> None:
    listed = {path: set(attributes) for path, attributes in ASSIGNED_FROM_OUTSIDE.items()}
    stale = _beyond(listed, _assigning_modules())
    assert not stale, "no longer assigned; delete from ASSIGNED_FROM_OUTSIDE: " + ", ".join(stale)


@pytest.mark.parametrize(
    "source",
    [
        "trial.status = 'failed'",
        "trial.seconds += 1",
        "trial.status: str = 'failed'",
        "trial.status, x = 'failed', 1",
        "[first, *trial.rest] = values",
        "x = trials[0].status = 'failed'",
        "def end(self):\n    self.trial.status = 'failed'",
        "logging.getLogger('a').handlers = []",
    ],
)
def test_an_assignment_from_outside_is_found_in_every_form(source: str) -> None:
    assert len(assigned_from_outside(source)) == 1


@pytest.mark.parametrize(
    "source",
    ["self.status = 1", "cls.known += 1", "status = trial.status", "trial.scores['x'] = 1"],
)
def test_an_assignment_of_one_s_own_is_let_through(source: str) -> None:
    assert assigned_from_outside(source) == set()


def test_no_module_of_tuning_imports_more_than_18_of_ours() -> None:
    imported = {
        str(path.relative_to(ROOT)): _num_imported_of_ours(path) for path in modules("tuning")
    }
    too_many = {path: n for path, n in imported.items() if n > MOST_IMPORTS}
    assert too_many == {}


def _num_imported_of_ours(path: Path) -> int:
    names = imported_names(path.read_text("utf-8"), dotted_package(path))
    return len({name for name in names if name.split(".")[0] in PACKAGES})


def test_only_the_objective_writers_of_files_and_gates_name_macro_f1() -> None:
    naming = {
        str(path.relative_to(ROOT))
        for path in modules(*INSTALLED)
        if MACRO_F1.search(path.read_text("utf-8"))
    }
    assert naming == NAMES_MACRO_F1, "`training.objective` knows its name and label"
    assert len(naming) <= MOST_THAT_NAME_IT
