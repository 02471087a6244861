"""The pages, in a real Chromium, against a running Airflow."""

from __future__ import annotations

import os
import re
import shutil
from contextlib import ExitStack
from datetime import timedelta, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import pytest
from plugin_world import BARE_DAG, DAG
from servers import missing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Locator, Page
    from plugin_world import World

    Visit = Callable[[str], "Visitor"]

pytestmark = pytest.mark.xdist_group("plugins")

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT = 30_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if program is None:
        missing("chromium")
    playwright = pytest.importorskip("playwright.sync_api") if not os.environ.get("CI") else _playwright()
    with playwright.sync_playwright() as started:
        one = started.chromium.launch(executable_path=program, args=FLAGS)
        yield one
        one.close()


def _playwright() -> Any:
    import playwright.sync_api

    return playwright.sync_api


class Visitor:
    """A user who is logged in, what they see, and what the page complained about."""

    def __init__(self, page: Page, url: str, folder: Path) -> None:
        self.page = page
        self.url = url
        self.complaints: list[str] = []
        self._folder = folder

        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("console", self._listen)

    def _listen(self, message: Any) -> None:
        if message.type == "error":
            self.complaints.append(f"{message.text} ({message.location.get('url')})")

    def open(self, path: str) -> None:
        self.page.goto(self.url + path)

    def text(self, text: str | re.Pattern[str]) -> Locator:
        found = self.page.get_by_text(text).first
        found.wait_for(timeout=WAIT)
        return found

    def node(self, kind: str) -> Locator:
        return self.page.locator(f'[id^="windsock-node-{kind}:"]')

    def screenshot(self, name: str) -> None:
        self.page.screenshot(path=self._folder / f"{name}.png")


@pytest.fixture(scope="module")
def log_in(world: World, browser: Browser) -> Callable[[str], Any]:
    """``log_in(user)``: the cookies of a user who has logged in through Airflow's form."""

    @lru_cache
    def cookies(user: str) -> Any:
        context = browser.new_context()
        page = context.new_page()
        page.goto(world.airflow.url)
        page.fill("input[name=username]", user)
        page.fill("input[name=password]", world.airflow.passwords[user])
        page.click("button[type=submit]")
        page.get_by_test_id("nav-home-link").wait_for(timeout=WAIT)
        state = context.storage_state()
        context.close()
        return state

    return cookies


@pytest.fixture
def visit(world: World, browser: Browser, log_in: Callable[[str], Any], tmp_path: Path) -> Iterator[Visit]:
    """``visit(user)``: Airflow as the user sees it. Screenshots are in the test's folder."""
    with ExitStack() as contexts:

        def visit(user: str) -> Visitor:
            context = browser.new_context(
                viewport={"width": 1400, "height": 900}, timezone_id="Asia/Tokyo", storage_state=log_in(user)
            )
            contexts.callback(context.close)
            one = Visitor(context.new_page(), world.airflow.url, tmp_path)
            contexts.callback(one.screenshot, f"last-{user}")
            return one

        yield visit


@pytest.fixture
def visitor(visit: Visit) -> Visitor:
    return visit("admin")


class TestWindsockPage:
    def test_it_is_in_the_menu_and_shows_the_stack(self, visitor: Visitor) -> None:
        visitor.open("/")
        visitor.page.get_by_role("button", name="Browse").click()
        visitor.page.get_by_role("menuitem", name="Windsock").click()
        visitor.text("local")
        table = visitor.page.get_by_role("table", name="Components of stack local")
        table.get_by_role("cell", name="artifact store").wait_for(timeout=WAIT)
        visitor.page.get_by_role("button", name="Check").first.click()
        visitor.text("wrote a row and rolled it back")
        visitor.screenshot("stack")
        assert visitor.complaints == []

    def test_every_tab_shows_what_there_is(self, visitor: Visitor, world: World) -> None:
        visitor.open("/plugin/windsock")
        accuracy = f"{world.metadata.models.get('tumours', version=2).metrics['accuracy']:.4g}"
        for tab, shown in {
            "Models": "production → 2",
            "Deployments": "tumours version 2",
            "Drift": "9 of 30 features",
            "Runs": re.compile(f"^{DAG} manual "),
            "Lineage": "tumours version 2",
        }.items():
            visitor.page.get_by_role("tab", name=tab).click()
            visitor.text(shown)
            visitor.screenshot(tab)
        visitor.page.get_by_role("tab", name="Models").click()
        visitor.page.get_by_role("link", name="tumours").click()
        visitor.text(accuracy)
        visitor.text("Why version 2 is production")
        visitor.text("fewer trees")
        visitor.page.get_by_role("button", name="Open the details of version 1").click()
        visitor.text("n_estimators")
        visitor.screenshot("model")
        visitor.page.go_back()
        visitor.text("production → 2")
        assert visitor.complaints == []

    def test_times_are_in_the_zone_that_airflow_shows(self, visitor: Visitor, world: World) -> None:
        made = world.metadata.models.get("tumours", version=2).created_at
        visitor.open("/plugin/windsock?tab=models&model=tumours")
        visitor.text(f"{made.astimezone(timezone(timedelta(hours=9))):%Y-%m-%d %H:%M:%S}")  # the browser is in Tokyo
        visitor.page.evaluate("""localStorage.setItem("timezone", '"UTC"')""")
        visitor.page.reload()
        visitor.text(f"{made:%Y-%m-%d %H:%M:%S}")

    def test_a_drift_report_opens_in_a_tab_of_its_own(self, visitor: Visitor) -> None:
        visitor.open("/plugin/windsock?tab=drift")
        visitor.text("9 of 30 features")
        with visitor.page.context.expect_page() as opened:
            visitor.page.get_by_role("link", name="Report").first.click()
        opened.value.get_by_text("mean radius").first.wait_for(timeout=WAIT)
        opened.value.screenshot(path=visitor._folder / "report.png")
        assert opened.value.evaluate("getComputedStyle(document.body).margin") == "0px", "its own styles apply"

    def test_who_may_not_check_is_told_so(self, visit: Visit) -> None:
        viewer = visit("viewer")
        viewer.open("/plugin/windsock")
        viewer.page.get_by_role("button", name="Check").first.click()
        viewer.text("You may not check stacks")


class TestLineage:
    def test_the_tab_of_a_dag(self, visitor: Visitor) -> None:
        visitor.open(f"/dags/{DAG}")
        visitor.page.get_by_role("link", name="Windsock Lineage").click()
        visitor.node("step_run").nth(4).wait_for(timeout=WAIT)
        assert (visitor.node("run").count(), visitor.node("step_run").count()) == (1, 5)
        visitor.text("tumours.load_patients")
        visitor.text(re.compile(r"^5 steps$"))
        visitor.screenshot("dag")
        assert visitor.complaints == []

    def test_a_selected_node_shows_its_facts_and_lights_its_line(self, visitor: Visitor, world: World) -> None:
        visitor.open(f"/dags/{DAG}/runs/{world.runs[DAG]}/plugin/windsock-run-lineage")
        rows = visitor.page.locator('[id="windsock-node-artifact:tumours.split.train@1"]')
        rows.click()
        facts = visitor.page.get_by_test_id("windsock-facts")
        facts.get_by_text("pandas.DataFrame").wait_for(timeout=WAIT)
        digest = world.metadata.artifacts.get("tumours.split.train", 1).digest
        assert facts.get_by_role("button", name=f"Copy {digest}").is_visible()
        opacity = "node => getComputedStyle(node).opacity"
        fit = visitor.node("step_run").filter(has_text=re.compile("train$"))
        other = visitor.page.locator('[id="windsock-node-artifact:tumours.split.test@1"]')
        assert (fit.evaluate(opacity), other.evaluate(opacity)) == ("1", "0.3")
        visitor.screenshot("selected")
        visitor.page.keyboard.press("Escape")
        facts.wait_for(state="detached", timeout=WAIT)
        assert other.evaluate(opacity) == "1"
        assert visitor.complaints == []

    def test_by_keyboard(self, visitor: Visitor) -> None:
        visitor.open("/plugin/windsock?tab=lineage&node=model:tumours@1")
        visitor.node("run").first.focus(timeout=WAIT)
        downwards = visitor.page.get_by_role("button", name="Turn the drawing").inner_text() == "→"
        forward = "ArrowDown" if downwards else "ArrowRight"
        visitor.page.keyboard.press(forward)
        visitor.page.wait_for_function("document.activeElement.id.startsWith('windsock-node-step_run:')", timeout=WAIT)
        visitor.page.keyboard.press("Enter")
        facts = visitor.page.get_by_test_id("windsock-facts")
        facts.get_by_role("heading", name="load_patients").wait_for(timeout=WAIT)
        for _ in range(8):
            visitor.page.keyboard.press(forward)
            visitor.page.wait_for_timeout(50)
        at = visitor.page.evaluate("document.activeElement.getBoundingClientRect().toJSON()")
        assert visitor.page.evaluate("document.activeElement.id") == "windsock-node-model:tumours@1"
        assert (at["top"] >= 0, at["bottom"] <= 900) == (True, True), "what has the focus is in sight"

    def test_pan_zoom_and_fit(self, visitor: Visitor) -> None:
        visitor.open("/plugin/windsock?tab=lineage&node=model:tumours@2")
        last = visitor.node("deployment")
        last.wait_for(state="attached", timeout=WAIT)
        frame = visitor.page.get_by_role("group", name=re.compile("^Lineage of"))
        box = frame.bounding_box()
        assert box is not None

        def where() -> tuple[float, float, float]:
            found = visitor.node("artifact").first.bounding_box()
            assert found is not None
            return found["x"], found["y"], found["width"]

        before = where()
        visitor.page.mouse.move(box["x"] + 20, box["y"] + 20)
        visitor.page.mouse.down()
        visitor.page.mouse.move(box["x"] + 70, box["y"] + 50, steps=3)
        visitor.page.mouse.up()
        assert where() == pytest.approx((before[0] + 50, before[1] + 30, before[2]), abs=1)
        visitor.page.keyboard.down("Control")
        visitor.page.mouse.wheel(0, -150)
        visitor.page.keyboard.up("Control")
        visitor.page.wait_for_timeout(200)
        assert where()[2] > before[2] * 1.3
        visitor.page.get_by_role("button", name="Fit to the window").click()
        visitor.page.wait_for_timeout(200)
        end = last.bounding_box()
        assert end is not None
        assert end["y"] + end["height"] <= box["y"] + box["height"]
        assert end["x"] + end["width"] <= box["x"] + box["width"]

    def test_a_dag_without_windsock_says_so(self, visitor: Visitor) -> None:
        visitor.open(f"/dags/{BARE_DAG}/plugin/windsock-lineage")
        visitor.text("No Windsock step of this DAG has started yet.")


class TestWhenItBreaks:
    """Airflow goes on."""

    def go_home(self, visitor: Visitor) -> None:
        visitor.page.get_by_test_id("nav-home-link").click()
        visitor.text("Pool Slots")

    def test_a_page_that_throws(self, visitor: Visitor) -> None:
        nonsense = '{"active": "local", "stacks": [{"name": null, "components": null}]}'
        visitor.page.route("**/windsock/api/stacks", lambda route: route.fulfill(body=nonsense))
        visitor.open("/plugin/windsock")
        visitor.text("Windsock's page failed")
        visitor.screenshot("failed")
        visitor.page.get_by_role("tab", name="Models").click()
        visitor.text("production → 2")
        self.go_home(visitor)

    def test_a_bundle_that_throws(self, visitor: Visitor) -> None:
        broken = "throw new Error('the bundle is broken')"
        visitor.page.route("**/windsock.js*", lambda route: route.fulfill(body=broken, content_type="text/javascript"))
        visitor.open("/plugin/windsock")
        visitor.page.wait_for_load_state("networkidle")
        self.go_home(visitor)

    def test_a_database_that_is_down(self, visitor: Visitor) -> None:
        body = '{"detail": "The metadata database does not answer.", "hint": "Run windsock doctor"}'
        down = True

        def answer(route: Any) -> None:
            route.fulfill(status=503, body=body) if down else route.continue_()

        visitor.page.route("**/windsock/api/models", answer)
        visitor.open("/plugin/windsock?tab=models")
        visitor.text("The metadata database does not answer.")
        visitor.text("windsock doctor")
        visitor.screenshot("down")
        down = False
        visitor.page.get_by_role("button", name="Try again").click()
        visitor.text("production → 2")
