from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest
from windsock.provider.component import Component
from windsock.provider.errors import ComponentInvalid, FlavorNotFound, MissingExtra
from windsock.provider.flavors import FLAVORS, known, resolve

BUILT_IN = [(kind, flavor) for kind, table in FLAVORS.items() for flavor in table]


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A user's module, importable for this test only."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(name, text):
        (tmp_path / f"{name}.py").write_text(text)
        monkeypatch.delitem(sys.modules, name, raising=False)
        return name

    return make


PAGER = (
    "from windsock.provider.component import Component\n"
    "class PagerAlerter(Component):\n"
    "    kind = 'alerter'\n"
    "    def alert(self, text): return text\n"
)


class TestBuiltIns:
    @pytest.mark.parametrize(("kind", "flavor"), BUILT_IN)
    def test_every_one_is_a_component_of_its_kind(self, kind, flavor):
        missing = [name for name in FLAVORS[kind][flavor].needs if find_spec(name) is None]
        if missing:  # a test environment need not have every cloud's libraries
            with pytest.raises(MissingExtra, match=f"needs {missing[0]}"):
                resolve(kind, flavor)
            return
        cls = resolve(kind, flavor)
        assert issubclass(cls, Component)
        assert cls.kind == kind
        assert not getattr(cls, "__abstractmethods__", None)

    def test_the_table_is_sorted(self):
        assert list(FLAVORS) == sorted(FLAVORS)
        assert all(list(table) == sorted(table) for table in FLAVORS.values())

    def test_a_missing_library_names_the_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "s3fs", None)  # what an uninstalled library looks like to find_spec
        with pytest.raises(MissingExtra, match='artifact_store "s3" needs s3fs') as caught:
            resolve("artifact_store", "s3", "stacks/x.yaml, line 3")
        assert "stacks/x.yaml, line 3" in caught.value.message
        assert caught.value.hint == "Run: pip install 'airflow-provider-windsock[amazon]'"


class TestUnknown:
    def test_says_what_was_meant_and_where(self):
        with pytest.raises(FlavorNotFound) as caught:
            resolve("artifact_store", "loca", "stacks/production.yaml, line 9")
        assert caught.value.message == 'artifact_store "loca" is not known (stacks/production.yaml, line 9).'
        assert 'Did you mean "local"? Known: azure, gcs, local, s3.' in caught.value.hint

    def test_kind_without_any_flavor(self):
        with pytest.raises(FlavorNotFound, match="None is known"):
            resolve("tracer", "otel")


class TestClassPath:
    def test_of_a_users_module(self, module):
        name = module("acme_pager", PAGER)
        assert resolve("alerter", f"{name}:PagerAlerter").__name__ == "PagerAlerter"

    def test_without_that_module(self):
        with pytest.raises(FlavorNotFound, match='no module "acme_gone"'):
            resolve("alerter", "acme_gone.pager:PagerAlerter")

    def test_without_that_class(self, module):
        name = module("acme_pager2", PAGER)
        with pytest.raises(FlavorNotFound, match='has no "PagerAlert"') as caught:
            resolve("alerter", f"{name}:PagerAlert")
        assert 'Did you mean "PagerAlerter"?' in caught.value.hint

    def test_of_another_kind(self, module):
        name = module("acme_pager3", PAGER)
        with pytest.raises(ComponentInvalid, match="is a alerter, and stands as the tracer"):
            resolve("tracer", f"{name}:PagerAlerter")

    def test_of_something_else(self):
        with pytest.raises(ComponentInvalid, match="no subclass of"):
            resolve("alerter", "json:JSONDecoder")

    def test_an_import_error_inside_the_users_module_is_not_masked(self, module):
        name = module("acme_broken", "import a_library_that_is_not_there\n")
        with pytest.raises(ModuleNotFoundError, match="a_library_that_is_not_there"):
            resolve("alerter", f"{name}:X")


class TestEntryPoint:
    def test_of_an_installed_package(self, tmp_path, module):
        module("acme_entry", PAGER)
        info = tmp_path / "acme_pager-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-pager\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[windsock.alerter]\npager = acme_entry:PagerAlerter\n")
        assert resolve("alerter", "pager").__name__ == "PagerAlerter"
        assert known("alerter") == sorted([*FLAVORS["alerter"], "pager"])
