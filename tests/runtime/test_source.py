"""The digest of a step's code changes when, and only when, code that it uses changes."""

from __future__ import annotations

import time
from typing import Any

import pytest
from windsock.provider.runtime.source import source_digest

STEPS = """
    from windsock.provider.errors import WindsockError
    from acme import helpers
    from acme.constants import FACTOR
    import acme.deep.inner as inner

    UNUSED = 1

    def train(x: int) -> int:
        '''Doc.'''
        from acme.late import tail
        return helpers.clean(x) * FACTOR + inner.shift(x) + tail(x)

    def other():
        return UNUSED
"""
FILES = {
    "acme__steps": STEPS,
    "acme__helpers": "def clean(x):\n    return _inner(x)\n\n"
    "def _inner(x):\n    return x + 1\n\n"
    "def unrelated():\n    return 1\n",
    "acme__constants": "FACTOR = 2\nOTHER = 3\n",
    "acme__deep__inner": "from ..constants import OTHER\nclass Base:\n    k = 1\nclass Shift(Base):\n    pass\n"
    "def shift(x):\n    return Shift.k + x\n",
    "acme__late": "def tail(x):\n    return x\n",
}


@pytest.fixture
def acme(project: Any) -> Any:
    project.package("acme", "acme.deep")
    project.write(**FILES)
    return project


def digest(project: Any, function: str = "acme.steps:train") -> str | None:
    return source_digest(project.load(function))


class TestWhatChangesTheDigest:
    @pytest.mark.parametrize(
        ("file", "old", "new"),
        [
            ("acme__steps", "* FACTOR", "- FACTOR"),
            ("acme__helpers", "return _inner(x)", "return _inner(x) + 99"),
            ("acme__helpers", "return x + 1", "return x + 99"),
            ("acme__constants", "FACTOR = 2", "FACTOR = 99"),
            ("acme__deep__inner", "k = 1", "k = 99"),
            ("acme__late", "return x", "return x + 99"),
        ],
        ids=["own body", "helper", "helper of the helper", "constant", "base class", "import inside the body"],
    )
    def test_code_that_is_used(self, acme: Any, file: str, old: str, new: str) -> None:
        before = digest(acme)
        assert before is not None
        assert old in FILES[file]
        acme.write(**{file: FILES[file].replace(old, new)})
        after = digest(acme)
        assert after is not None
        assert after != before

    def test_a_default_and_a_project_decorator(self, acme: Any) -> None:
        text = "from acme.wrap import twice\n@twice\ndef train(x=1):\n    return x\n"
        wrap = (
            "import functools\ndef twice(f):\n    @functools.wraps(f)\n"
            "    def inner(*a):\n        return f(*a) * 2\n    return inner\n"
        )
        acme.write(acme__steps=text, acme__wrap=wrap)
        seen = {digest(acme)}
        acme.write(acme__steps=text.replace("x=1", "x=2"))
        seen.add(digest(acme))
        acme.write(acme__steps=text, acme__wrap=wrap.replace("* 2", "* 3"))
        seen.add(digest(acme))
        assert None not in seen
        assert len(seen) == 3

    @pytest.mark.parametrize(
        ("before", "after"),
        [
            ("TABLE = {}\nTABLE['a'] = 1\n", "TABLE = {}\nTABLE['a'] = 2\n"),
            ("TABLE = {}\nTABLE.update(a=1)\n", "TABLE = {}\nTABLE.update(a=2)\n"),
            (
                "TABLE = set()\n@TABLE.add\ndef f():\n    return 1\n",
                "TABLE = set()\n@TABLE.add\ndef f():\n    return 2\n",
            ),
            ("if True:\n    TABLE = 1\nelse:\n    TABLE = 2\n", "if True:\n    TABLE = 1\nelse:\n    TABLE = 3\n"),
            (
                "try:\n    from acme.helpers import clean as TABLE\nexcept ImportError:\n    TABLE = 1\n",
                "try:\n    from acme.helpers import clean as TABLE\nexcept ImportError:\n    TABLE = 2\n",
            ),
        ],
        ids=["item", "update", "registered", "branch", "fallback"],
    )
    def test_changes_of_a_module_variable(self, acme: Any, before: str, after: str) -> None:
        body = "def train(x):\n    return TABLE\n"
        acme.write(acme__steps=before + body)
        first = digest(acme)
        acme.write(acme__steps=after + body)
        assert None not in (first, digest(acme))
        assert digest(acme) != first

    @pytest.mark.parametrize(
        "use",
        [
            "import acme.helpers\ndef train(x):\n    return acme.helpers.clean(x)\n",
            "import acme.helpers as h\ndef train(x):\n    return h.clean(x)\n",
            "from acme.helpers import clean\ndef train(x):\n    return clean(x)\n",
            "from acme.helpers import *\ndef train(x):\n    return clean(x)\n",
            "from . import helpers\ndef train(x):\n    return helpers.clean(x)\n",
            "from .helpers import clean as c\ndef train(x):\n    return c(x)\n",
            "from acme.facade import clean\ndef train(x):\n    return clean(x)\n",
            "from acme import helpers\ndef train(x):\n    return getattr(helpers, 'clean')(x)\n",
            "def train(x):\n    import acme.helpers\n    return acme.helpers.clean(x)\n",
            "from acme.helpers import clean\nclass Model:\n    def fit(self, x):\n        return clean(x)\n"
            "def train(x):\n    return Model().fit(x)\n",
            "from acme.helpers import clean\nimport functools\ncut = functools.partial(clean)\n"
            "def train(x):\n    return cut(x)\n",
        ],
        ids=[
            "dotted",
            "alias",
            "from",
            "star",
            "relative",
            "relative alias",
            "facade",
            "getattr",
            "in body",
            "method",
            "partial",
        ],
    )
    def test_every_way_to_reach_a_helper(self, acme: Any, use: str) -> None:
        acme.write(acme__steps=use, acme__facade="from .helpers import clean\n")
        before = digest(acme)
        acme.write(acme__helpers=FILES["acme__helpers"].replace("x + 1", "x + 99"))
        after = digest(acme)
        assert None not in (before, after)
        assert after != before


class TestAnInstalledProject:
    def test_the_package_of_the_step_counts_and_its_dependencies_do_not(
        self, project: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.syspath_prepend(str(project.root / "site-packages"))
        tool = "def tool():\n    return 1\n"
        files = {
            "site-packages__shop__steps": "from shop import helpers\nfrom vendor import tool\n"
            "def train():\n    return helpers.clean() + tool()\n",
            "site-packages__shop__helpers": "def clean():\n    return 1\n",
            "site-packages__vendor": tool,
        }
        project.write(**files, **{"site-packages__shop____init__": ""})
        first = digest(project, "shop.steps:train")
        project.write(**{"site-packages__vendor": tool.replace("1", "2")})
        assert digest(project, "shop.steps:train") == first
        project.write(**{"site-packages__shop__helpers": "def clean():\n    return 2\n"})
        assert digest(project, "shop.steps:train") not in (None, first)


class TestWhatDoesNot:
    @pytest.mark.parametrize(
        ("file", "old", "new"),
        [
            ("acme__steps", "'''Doc.'''", "'''Other words.'''\n        # and a comment\n"),
            ("acme__steps", "UNUSED = 1", "UNUSED = 2"),
            ("acme__helpers", "    return 1", "    return 2"),
            ("acme__helpers", "x + 1", "(x  +  1)"),
        ],
        ids=["docstring and comment", "another definition", "unused helper", "formatting"],
    )
    def test_code_that_is_not_used(self, acme: Any, file: str, old: str, new: str) -> None:
        before = digest(acme)
        assert old in FILES[file]
        acme.write(**{file: FILES[file].replace(old, new)})
        assert before is not None
        assert digest(acme) == before

    def test_windsock_and_installed_packages_do_not_count(self, acme: Any) -> None:
        import numpy  # noqa: F401
        from windsock.provider.runtime import source

        acme.write(
            acme__steps="import numpy as np\nfrom windsock.provider import names\n"
            "def train(x):\n    return np.sum(names)\n"
        )
        assert digest(acme) is not None
        ((_, stamps),) = [v for k, v in source._CLOSURES.items() if k == ("acme.steps", "train")]
        assert [path for path, *_ in stamps] == [str(acme.root / "acme/steps.py")]

    def test_recursion_ends(self, acme: Any) -> None:
        acme.write(
            acme__steps="from acme import loop\ndef train(x):\n    return loop.back(x)\n",
            acme__loop="from acme import steps\ndef back(x):\n    return steps.train(x)\n",
        )
        assert digest(acme) is not None


class TestFunctionsWithoutAHome:
    def test_closures_count_by_their_values(self) -> None:
        def make(k: object) -> Any:
            def inner(x: int) -> object:
                return (x, k)

            return inner

        assert source_digest(make(1)) == source_digest(make(1))
        assert source_digest(make(1)) != source_digest(make(2))
        assert source_digest(make({"a": [1]})) != source_digest(make({"a": [2]}))

    def test_a_closure_that_cannot_be_known_is_not_cached(self) -> None:
        handle = open(__file__)  # noqa: SIM115

        def inner() -> object:
            return handle

        with handle:
            assert source_digest(inner) is None


class TestStaleCode:
    def test_a_file_edited_after_its_import_has_no_digest(self, acme: Any) -> None:
        function = acme.load("acme.steps:train")
        first = source_digest(function)
        acme.write(acme__helpers=FILES["acme__helpers"].replace("x + 1", "x + 99"))
        assert source_digest(function) is None  # what runs here is still the old helper
        second = digest(acme)
        assert second not in (None, first)

    def test_an_edited_constant_too(self, acme: Any) -> None:
        function = acme.load("acme.steps:train")
        assert source_digest(function) is not None
        acme.write(acme__constants="FACTOR = 99\nOTHER = 3\n")
        assert source_digest(function) is None


class TestSpeed:
    def test_a_known_step_costs_microseconds(self, acme: Any) -> None:
        function = acme.load("acme.steps:train")
        source_digest(function)
        started = time.perf_counter()
        for _ in range(200):
            source_digest(function)
        assert (time.perf_counter() - started) / 200 < 0.0005
