# SPDX-License-Identifier: GPL-2.0-or-later
"""What a reader gets: the table on the terminal, the page, the figures."""

from __future__ import annotations

import json
import math
import re
import shutil
import struct
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from nvlab.analysis.compare import comparisons
from nvlab.analysis.drill import felt
from nvlab.analysis.latencies import layer_latencies
from nvlab.analysis.report import write_report
from nvlab.analysis.runs import load_run
from nvlab.analysis.table import terminal_table, times
from nvlab.record import LAYERS
from nvlab.record.buckets import bucket_of
from nvlab.record.format import LAYER_LATENCY, LAYER_LATENCY_DTYPE

VOID = {"meta", "br", "link", "img", "hr", "input"}


@pytest.fixture(scope="module")
def reported(converted, tmp_path_factory):
    """The page of a run, and whether a notebook's own settings survived that."""
    import matplotlib

    path, before = tmp_path_factory.mktemp("report"), dict(matplotlib.rcParams)
    page = write_report(load_run(converted), path)
    return page, dict(matplotlib.rcParams) == before


def test_the_table_has_a_block_for_each_load_section_and_direction(converted):
    blocks = terminal_table(load_run(converted)).split("\n\n")
    assert [block.split("  ")[0] for block in blocks[:-1]] == [
        "randrw, read",
        "randrw, write",
        "profile one, read",
        "profile two, write",
    ]
    head, plain, client = blocks[0].splitlines()
    assert head.split()[2:] == [
        "IOPS",
        "MB/s",
        "mean",
        "p50",
        "p99",
        "p99.9",
        "max",
        "×",
        "IOPS",
        "×",
        "p50",
        "×",
        "p99",
    ]
    assert plain.split()[0] == "plain"
    assert plain.endswith("baseline")
    assert client.split()[0] == "client"
    assert max(map(len, "\n".join(blocks[:-1]).splitlines())) <= 110


def test_an_emulated_run_says_that_only_the_comparison_counts(converted, tmp_path):
    table = terminal_table(load_run(converted)).splitlines()
    assert any(line.startswith("! ") and "TCG" in line for line in table), "other remarks may follow"
    assert "TCG" not in terminal_table(load_run(with_facts(converted, tmp_path, accelerator={"accelerator": "kvm"})))


def with_facts(converted, tmp_path, **facts):
    path = tmp_path / "run"
    shutil.copytree(converted, path)
    described = json.loads((path / "run.json").read_text())
    (path / "run.json").write_text(json.dumps(described | facts))
    return path


def test_factors_are_against_the_baseline(converted):
    for comparison in comparisons(load_run(converted)):
        assert comparison.baseline.variant == "plain"
        plain, client = comparison.rows
        assert client.latency.total == client.ios
        assert 0 < client.percentile(50) <= client.percentile(99.9) <= client.max
        assert plain.iops > 0


@pytest.mark.parametrize(
    ("factor", "said"), [(0.4242, "0.42"), (1.004, "1.00"), (2.34, "2.3"), (17.2, "17"), (float("nan"), "–")]
)
def test_a_factor_has_two_digits_that_count(factor, said):
    assert times(factor) == said


def test_rounds_of_a_variant_are_taken_together(converted, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(converted, path)
    shutil.copytree(path / "workloads/01-randrw-client", path / "workloads/05-randrw-client-2")
    once, twice = (next(c for c in comparisons(load_run(p)) if c.op == "read").rows[1] for p in (converted, path))
    assert twice.ios == 2 * once.ios
    assert twice.iops == pytest.approx(once.iops)
    assert twice.percentile(99) == once.percentile(99)


def test_a_run_without_a_finished_workload_is_reported_as_such(converted, tmp_path):
    path = tmp_path / "run"
    shutil.copytree(converted, path)
    shutil.rmtree(path / "workloads")
    (path / "workloads").mkdir()
    run = load_run(path)
    assert terminal_table(run) == "nothing was measured"
    assert "Nothing was measured" in write_report(run, path).read_text()


def with_events(converted, tmp_path):
    """The same run, as if two events had happened in its first workload, and a third had not been reached."""
    path = tmp_path / "eventful"
    shutil.copytree(converted, path)
    described = path / "workloads/01-randrw-client/workload.json"
    facts = json.loads(described.read_text())
    first = load_run(converted).workloads[0].first_io
    event = {"owner": "raid.md", "kernel": [], "message": "", "result": "done"}
    facts["events"] = [
        event | {"label": "later", "due": None, "begun": None, "ended": None, "result": "not reached", "found": ""},
        event | {"label": "second", "begun": first + 200 * 10**6, "ended": first + 250 * 10**6, "found": "whole"},
        event | {"label": "fail <b>", "begun": first, "ended": first + 150 * 10**6, "found": "degraded by 1"},
    ]
    described.write_text(json.dumps(facts))
    with (described.parent / "events.jsonl").open("a") as log:
        log.write(json.dumps({"t": first + 200 * 10**6, "kind": "event", "owner": "raid.md", "label": "second"}) + "\n")
        log.write(json.dumps({"t": first + 250 * 10**6, "kind": "event-end", "owner": "raid.md", "label": "second"}) + "\n")
    return path


def test_events_are_told_in_order_with_what_the_load_felt(converted, tmp_path):
    run = load_run(with_events(converted, tmp_path))
    first, second, later = felt(run.workloads[0])
    assert [event.label for event in (first, second, later)] == ["fail <b>", "second", "later"]
    assert (first.at, first.took, second.at, second.took) == pytest.approx((0, 0.15, 0.2, 0.05))
    trace = run.workloads[0].latency
    assert first.slowest == trace["latency"][trace["t"] < run.workloads[0].first_io + 200 * 10**6].max()
    assert 0 < first.pause < run.workloads[0].ended - run.workloads[0].first_io
    assert math.isnan(later.at) and math.isnan(later.pause)
    block = next(b for b in terminal_table(run).split("\n\n") if b.startswith("events of randrw-client"))
    assert [line.split()[-1] for line in block.splitlines()] == ["then", "1", "whole", "reached"]
    assert [e["label"] for e in run.workloads[0].remarkable()] == ["second"], "one mark for an event, at its beginning"


@pytest.mark.slow
def test_events_have_a_table_on_the_page(converted, tmp_path):
    path = with_events(converted, tmp_path)
    page = write_report(load_run(path), path).read_text()
    assert "raid.md: fail &lt;b&gt;" in page and "degraded by 1" in page


@pytest.mark.slow
def test_ios_that_failed_are_not_passed_over(converted, tmp_path):
    path = tmp_path / "failing"
    shutil.copytree(converted, path)
    results = path / "workloads/01-randrw-client/results.json"
    facts = json.loads(results.read_text())
    ios = sum(result["ios"] for result in facts["results"])
    for result in facts["results"]:
        result["errors"] = 7  # of the job: fio says it of each direction
    results.write_text(json.dumps(facts))
    said = f"randrw on client, repeat 1: randrw-client: 7 of {ios} I/Os failed, and count in its figures"
    assert f"! {said}" in terminal_table(load_run(path))
    assert said in write_report(load_run(path), path).read_text()
    assert "failed" not in terminal_table(load_run(converted))


@pytest.mark.slow
@pytest.mark.parametrize(("lost", "said"), [(0, "nothing that was flushed is lost"), (3, "BROKEN: 3 lost, 1 torn")])
def test_a_ledger_s_verdict_is_told(converted, tmp_path, lost, said):
    path = tmp_path / "ledger"
    shutil.copytree(converted, path)
    described = path / "workloads/01-randrw-client/workload.json"
    counts = {"writes": 900, "flushes": 9, "acknowledged": 80, "durable": 70, "kept": 75, "unflushed": 5}
    bad = {"lost": lost, "torn": int(bool(lost)), "damaged": 0, "error": "EIO: Input/output error"}
    described.write_text(json.dumps(json.loads(described.read_text()) | {"verdict": counts | bad}))
    told = terminal_table(load_run(path))
    assert "randrw-client: 900 writes and 9 flushes were acknowledged, then EIO: Input/output error ended the load" in told
    assert "of 80 blocks with acknowledged writes (70 with flushed ones) 5 fell back" in told
    assert said in told and said in write_report(load_run(path), path).read_text()


def test_a_run_without_events_has_no_such_table(converted):
    assert "events of" not in terminal_table(load_run(converted))


# -- the page ------------------------------------------------------------------------------------------------------------


class Page(HTMLParser):
    """Checks that what is opened is closed, and collects what the page refers to."""

    def __init__(self, text):
        super().__init__()
        self.open, self.links, self.tags, self.faults = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.faults.append(tag)


def test_the_page_needs_nothing_from_elsewhere(reported):
    text = reported[0].read_text()
    page = Page(text)
    assert (page.open, page.faults) == ([], [])
    outside = [link for link in page.links if not link.startswith(("#", "figures/"))]
    assert outside == []
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert not re.search(r"@import|url\((?!#)", text)
    assert all((reported[0].parent / link).is_file() for link in page.links if link.startswith("figures/"))


def test_what_the_scenario_says_is_text_and_never_markup(reported):
    text = reported[0].read_text()
    assert "A &lt;b&gt;test&lt;/b&gt; of $x_{" in text
    assert "mind the &lt;gap&gt;" in text
    assert "<b>" not in text


def test_ids_within_the_page_are_unique_where_they_are_referred_to(reported):
    text = reported[0].read_text()
    clips = re.findall(r'<clipPath id="([^"]+)"', text)
    assert len(clips) == len(set(clips)) > 0
    referred = set(re.findall(r"url\(#([^)]+)\)", text))
    assert referred <= set(re.findall(r'id="([^"]+)"', text))


def test_figures_follow_the_page_s_light_and_dark_colours(reported):
    page = Page(reported[0].read_text())
    assert page.tags.count("svg") == page.tags.count("figure") == 4 * 2 + 2 + layers(reported[0])
    svgs = re.findall(r"<svg.*?</svg>", reported[0].read_text(), re.S)
    assert all("var(--ink)" in svg and "#1b1f24" not in svg and "viewBox" in svg for svg in svgs)
    assert not any(re.search(r"<svg[^>]* (width|height)=", svg) for svg in svgs)


def layers(page):
    return len(list((page.parent / "figures").glob("layers-*.png")))


def test_each_figure_is_there_for_print_with_run_and_commit_in_its_caption(reported, converted):
    figures = sorted((reported[0].parent / "figures").iterdir())
    assert len(figures) == 2 * Page(reported[0].read_text()).tags.count("figure")
    for path in figures:
        if path.suffix == ".svg":
            assert f"run {load_run(converted).id}" in path.read_text()
            assert "TCG: relative only" in path.read_text()
        else:
            width, height = struct.unpack(">II", path.read_bytes()[16:24])
            assert width == 1000
            assert height > 250


def test_only_emulated_runs_are_watermarked_and_the_same_run_gives_the_same_page(converted, tmp_path):
    path = with_facts(converted, tmp_path, accelerator={"accelerator": "kvm"})
    for finished in sorted((path / "workloads").iterdir())[1:]:
        shutil.rmtree(finished)
    first, again = (write_report(load_run(path), tmp_path / name).read_text() for name in ("first", "again"))
    assert "TCG" not in first
    assert first == again


def test_drawing_leaves_a_notebook_s_own_settings_alone(reported):
    assert reported[1]


def test_reading_a_run_and_printing_its_table_needs_no_matplotlib(converted):
    code = (
        "import sys; from pathlib import Path; from nvlab.analysis.runs import load_run; "
        "from nvlab.analysis.table import terminal_table; "
        f"print(terminal_table(load_run(Path({str(converted)!r})))); assert 'matplotlib' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "randrw, read" in done.stdout


BROWSER = next((p for p in ("chromium-headless-shell", "chromium", "google-chrome") if shutil.which(p)), None)


needs_a_browser = pytest.mark.skipif(
    BROWSER is None, reason="needs a headless Chromium (apt-get install chromium-headless-shell)"
)


@needs_a_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_a_browser_shows_the_page_without_complaint(reported, tmp_path, width):
    shot = tmp_path / "page.png"
    command = [str(BROWSER), "--headless", "--no-sandbox", "--enable-logging=stderr", "--hide-scrollbars"]
    command += [
        f"--window-size={width},2000",
        f"--screenshot={shot}",
        f"--user-data-dir={tmp_path}",
        reported[0].as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "CONSOLE" not in done.stderr
    assert Path(shot).stat().st_size > 20_000


MEASURES = """
<script>
const box = e => { const r = e.getBoundingClientRect(); return [r.left, r.right, r.width, r.height]; };
const ink = e => getComputedStyle(e).color;
const page = document.documentElement;
document.body.textContent = JSON.stringify({
  inner: innerWidth, scroll: page.scrollWidth, figures: [...document.querySelectorAll("figure svg")].map(box),
  text: [...document.querySelectorAll("h1, td:first-child, figcaption")].map(ink),
  drawn: [...document.querySelectorAll("figure svg text")].map(e => getComputedStyle(e).fill),
  paper: getComputedStyle(document.body).backgroundColor,
});
</script>
"""
SCHEMES = {"dark": 0, "light": 1}  # blink::mojom::PreferredColorScheme


def measured(page: Path, place: Path, width: int, scheme: str) -> dict:
    """What a browser of that width makes of the page, in CSS pixels, and its colours."""
    copy = place / "measured.html"
    copy.write_text(page.read_text().replace("</body>", f"{MEASURES}</body>"))
    command = [str(BROWSER), "--headless", "--no-sandbox", "--hide-scrollbars", "--dump-dom", f"--window-size={width},2000"]
    command += [f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}", f"--user-data-dir={place / 'profile'}", copy.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return json.loads(re.search(r"<body>(.*)</body>", done.stdout, re.S)[1])


def brightness(color: str) -> float:
    """From 0, black, to 1, of "rgb(r, g, b)": its relative luminance (WCAG 2.2)."""
    shares = [int(n) / 255 for n in re.findall(r"\d+", color)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@needs_a_browser
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [390, 1280])
def test_in_a_browser_every_figure_is_seen_and_nothing_sticks_out(reported, tmp_path, width, scheme):
    said = measured(reported[0], tmp_path, width, scheme)
    assert said["inner"] == width and said["scroll"] <= width, "nobody has to scroll sideways"
    assert len(said["figures"]) == Page(reported[0].read_text()).tags.count("figure")
    for left, right, wide, high in said["figures"]:
        assert left >= 0 and right <= width and wide > 300 and high > 80
    paper = brightness(said["paper"])
    assert (paper < 0.1) if scheme == "dark" else (paper > 0.9)
    for ink in {*said["text"], *said["drawn"]}:
        low, high = sorted((paper, brightness(ink)))
        assert (high + 0.05) / (low + 0.05) >= 4.5, f"{ink} on {said['paper']} is hard to read (WCAG 2.2, 1.4.3)"


STACK = {"client": ["md"], "md": ["pool.1", "pool.2"]}
WATCHES = [{"layer": layer, "kind": "block", "name": layer} for layer in ("pool.1", "pool.2", "md", "client")]


@pytest.fixture
def layered(converted, tmp_path):
    """A run with latencies at layers: 1 ms at the disks, 3 at the array, 5 at the target, 7 at the client; a FLUSH was tried."""
    path = tmp_path / "run"
    shutil.copytree(converted, path)
    directory = path / "workloads/01-randrw-client"
    facts = json.loads((directory / "workload.json").read_text())
    stack = {"target": "client", "below": STACK, "exported": {"md": "drive"}}
    (directory / "workload.json").write_text(json.dumps(facts | {"watches": WATCHES, "layers": True, "stack": stack}))
    for name in ("block.npy", "counters.npy"):  # of other watches
        np.save(directory / name, np.load(directory / name)[:0])
    places = [int(bucket_of(ms * 10**6)) for ms in (1, 1, 3, 7)]
    rows = [[watch, 0, 1, place, 1000] for watch, place in enumerate(places)]
    rows += [[0, 1, 1, places[0] - 64, 1000], [2, 2, 1, int(bucket_of(5 * 10**6)), 1000]]
    np.save(directory / LAYER_LATENCY, np.array([tuple(row) for row in rows], LAYER_LATENCY_DTYPE))
    caches = {"pool.1": "write back", "pool.2": "write through", "md": "write back", "client": "write back"}
    tries = [{"on": "md", "do": "flush", "seen": {"md": {"bio flush": 1}}, "error": ""}]
    tried = {"queues": {name: {"write_cache": cache} for name, cache in caches.items()}, "tries": tries}
    said = {"way": "perf", "latencies": rows, "flags": [], "lost": 90, "missed": 10, "left_out": "no such module"}
    said["durability"] = tried
    (directory / LAYERS).write_text(json.dumps(said))
    return path


def test_layers_are_told_from_the_top_down_with_what_each_adds(layered):
    (load,) = (w for w in load_run(layered).workloads if w.facts["name"] == "randrw-client")
    found = {one.title: one for one in layer_latencies([load]) if one.op == "write"}
    assert list(found) == ["fio", "client", "drive (target)", "md", "pool (×2)"]
    assert [round(found[name].added / 1e6) for name in list(found)[1:]] == [2, 2, 2, 1]
    assert found["pool (×2)"].whole.total == 2000
    assert found["pool (×2)"].driver.mean() == pytest.approx(0.5e6, rel=0.02)
    assert found["md"].driver.total == 0
    assert found["client"].per_io == pytest.approx(1000 / sum(r["ios"] for r in load.results))


@pytest.mark.slow
def test_the_table_and_the_page_have_latencies_and_durability_of_the_layers(layered, tmp_path):
    run = load_run(layered)
    table = terminal_table(run)
    assert re.search(r"^  md, write +[\d.]+ +(3|2\.9\d*|3\.0\d*) ms", table, re.M)
    assert re.search(r"^  md +write back +SWALLOWED", table, re.M)
    assert "! randrw on client: md swallows FLUSH: pool.1 below it" in table
    assert "100 of 6100 latencies at the layers were not counted" in table
    assert "! randrw on client: latencies at the layers are out of records of each I/O" in table
    assert "! randrw on client: the target is not among the layers: no such module" in table
    assert "layers of randrw on plain" not in table, "it was not asked for there"
    page = write_report(run, tmp_path / "out").read_text()
    assert "How long each layer took: randrw on client" in page
    assert {"waterfall-randrw.svg", "layer-latency-randrw.svg"} <= {p.name for p in (tmp_path / "out/figures").iterdir()}
    drawn = (tmp_path / "out/figures/waterfall-randrw.svg").read_text()
    assert "pool (×2), write" in drawn
    assert re.search(r"\+(2|1\.9\d*|2\.0\d*) ms", drawn)
