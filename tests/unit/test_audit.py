"""What `make audit` says of pip-audit's reports."""

from tools.audit import problems_in


def test_a_safe_lock_has_no_problems() -> None:
    assert problems_in("a.lock", {"dependencies": [{"name": "x", "version": "1", "vulns": []}], "fixes": []}) == []


def test_each_vulnerability_is_named() -> None:
    vulns = [{"id": "PYSEC-1", "fix_versions": ["1.1", "2"]}, {"id": "PYSEC-2", "fix_versions": []}]
    assert problems_in("a.lock", {"dependencies": [{"name": "x", "version": "1", "vulns": vulns}]}) == [
        "a.lock: x 1 has PYSEC-1, fixed in 1.1, 2.",
        "a.lock: x 1 has PYSEC-2, fixed in no version yet.",
    ]


def test_packages_that_were_not_audited_are_a_problem() -> None:
    skipped = [{"name": name, "skip_reason": "Dependency not found"} for name in ("x", "y")]
    assert problems_in("a.lock", {"dependencies": skipped}) == [
        "a.lock: PyPI gave no information about 2 of 2 packages, such as x, so they were not audited: run `make audit` "
        "in a network that reaches PyPI itself."
    ]
