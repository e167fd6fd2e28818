# SPDX-License-Identifier: GPL-2.0-or-later
"""Writes docs/scenario.md, docs/media.md and docs/nvlab.md from the layers' dataclasses, the core's table of parameters, the
profiles, the command line and the errors.

``python tools/docs.py`` writes them, ``python tools/docs.py --check`` fails when they are out of date. The same pages are the
sources of the man pages nvlab-scenario(5) and nvlab(1).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from nvlab import cli, errors
from nvlab.layers import KINDS, event, power
from nvlab.layers import fields as marks
from nvlab.layers.base import BLOCK, LayerKind
from nvlab.layers.beside import ProfileOf
from nvlab.medium import KINDS as MEDIA
from nvlab.medium import PARAMETERS, Profile, profiles
from nvlab.scenario.compare import Compare, Values
from nvlab.scenario.schema import SCHEMA_VERSION
from nvlab.units import MAX_BYTES, MAX_NS, format_size, format_time
from nvlab.workload.keys import ALIASES, KEYS, REFUSED

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOTE = "<!-- made by tools/docs.py; edit that, or the layer's own file in nvlab/layers -->\n"


# -- the scenario reference ------------------------------------------------------------------------------------

HEAD = f"""\
{NOTE}
# The scenario file

## Name

nvlab-scenario - the TOML file that describes a lab for nvlab

## Description

A scenario is a TOML file that describes a lab: devices, the layers over them, and the loads to measure. `nvlab validate FILE`
says everything that is wrong with one; `nvlab plan FILE` shows what would be done; `nvlab schema` prints a JSON Schema with
which editors complete and check it.

```toml
schema = {SCHEMA_VERSION}
title = "A RAID 1 of two slow disks"

[disk.pool]
count = 2
size = "64M"
latency = "4ms"

[raid.mirror]
level = 1
on = "pool"

[workload.read]
on = "mirror"
fio = {{ rw = "randread", bs = "4k", iodepth = 4, runtime = "10s" }}
```

At the top of the file:

| key | what | default |
| --- | --- | --- |
| `schema` | version of the format: {SCHEMA_VERSION} | required |
| `title` | one line about the lab | none |
| `name` | the lab's name | the file's name |

## Names

`[disk.pool]` defines a *disk* called *pool*. Names are unique in a file, whatever their table: a small letter, then small
letters, digits, `-` and `_`, at most 31 in all. Objects refer to each other by name, in any order; circles are refused.

`pool` stands for all of its `count`, `pool.2` for the second. A block device carries one array, cache, file system or export;
loads may use any of them as well. Block devices are: {{blocks}}.

## Values

- **size**: bytes, or a binary unit: `4096`, `64K`, `512M`, `2G`, `1T`.
- **time**: a number with its unit: `500ns`, `20us`, `4ms`, `10s`, `5m`.
- **CPUs**: how many (`2`), or which (`"2-3"`, `"1,3"`).
- **name**, **names**: of other objects: `"pool"`, `["pool.1", "log"]`.
"""

FIO = """\
### The keys of fio

The table is written into a fio job. A sub-table is a section of the job and inherits the keys beside it; sections run at the
same time unless `stonewall = true` makes one wait for those before it. Times carry their unit, as everywhere in the file. The
target, what is logged and where are nvlab's: such keys are refused, as are all that could name a file or run a command.

Allowed: {allowed}.

Also known as: {aliases}.

Refused, with the reason: {refused}.
"""


COMPARES = """\
## [[compare]]

The same lab with one key changed: `nvlab run` and `nvlab simulate` measure it with each of the values in turns (A B, B A, A B),
and `nvlab compare` says what may be claimed ([measuring](measuring.md)). There may be several such tables, one after the other.
"""


def scenario_page() -> str:
    """docs/scenario.md."""
    blocks = ", ".join(f"`{table}`" for table in BLOCK)
    parts = [HEAD.replace("{blocks}", blocks)]
    for kind in KINDS.values():
        parts += _table(kind)
    return "\n".join([*parts, *_events(), COMPARES, _rows(Compare)])


def _events() -> Iterator[str]:
    """The keys of every event, then everything that may happen to each kind of object."""
    yield f"## [[event]]\n\n{event.DOC}\n"
    yield _rows(event.When)
    for kind in KINDS.values():
        for may in kind.events:
            yield f"### {may.do}, on a {kind.table}\n\n{may.doc}\n"
            yield _rows(may.spec)
    for may in power.EVENTS:
        yield f"### {may.do}, without `on`\n\n{may.doc}\n"


def _table(kind: LayerKind) -> Iterator[str]:
    yield f"## [{kind.table}.NAME]\n\n{kind.doc}\n"
    yield _rows(kind.spec)
    for name, inner in _nested(kind.spec):
        yield f"### {kind.table}.NAME.{name}\n\nWritten `{_key(name)} = {{ … }}`, or as `[{kind.table}.NAME.{name}]`.\n"
        yield _rows(inner)
    if kind.table == "workload":
        yield FIO.format(allowed=_words(KEYS), aliases=_pairs(), refused=_reasons())


def _rows(spec: type) -> str:
    hints = get_type_hints(spec, include_extras=True)
    lines = ["| key | what | value | default |", "| --- | --- | --- | --- |"]
    for f in fields(spec):
        hint = hints[f.name]
        lines.append(f"| `{f.name}` | {_doc(hint)} | {_value(hint)} | {_default(f, hint)} |")
    return "\n".join(lines) + "\n"


def _key(name: str) -> str:
    """An inner table as one writes it beside other keys."""
    return name.replace("NAME", "one")


def _nested(spec: type) -> Iterator[tuple[str, type]]:
    """Inner tables; where there may be any number of them, each has a name."""
    for key, hint in get_type_hints(spec).items():
        name = f"{key}.NAME" if get_origin(hint) is dict else key
        yield from ((name, option) for option in get_args(hint) if is_dataclass(option) and isinstance(option, type))


def _marks(hint: Any) -> tuple[Any, ...]:
    return get_args(hint)[1:] if get_origin(hint) is Annotated else ()


def _doc(hint: Any) -> str:
    return next(m.text for m in _marks(hint) if isinstance(m, marks.Doc))


def _value(hint: Any) -> str:
    tables = "tables, below" if get_origin(get_args(hint)[0]) is dict else "a table, below"
    return next((_words_of(m) for m in _marks(hint) if isinstance(m, marks.Marker)), tables)


def _words_of(mark: marks.Marker) -> str:
    """What a marker accepts, in words."""
    match mark:
        case marks.Size():
            return f"size, {_range(format_size(mark.low), format_size(mark.high), mark.high < MAX_BYTES)}" + (
                f", in steps of {format_size(mark.multiple)}" if mark.multiple > 1 else ""
            )
        case marks.Sizes():
            return f"size or `\"1k-16k\"`, {_range(format_size(mark.low), format_size(mark.high), mark.high < MAX_BYTES)}"
        case marks.Duration():
            return f"time, {_range(format_time(mark.low), format_time(mark.high), mark.high < MAX_NS)}"
        case marks.Whole():
            return f"{mark.low} to {mark.high}"
        case marks.Probability():
            return "a number above 0, up to 1"
        case marks.Percent():
            return "per cent, above 0 to 100"
        case marks.Choice():
            return " or ".join(f"`{v}`" for v in mark.values)
        case marks.At():
            return 'a time (`"5s"`) or a share (`"30%"`)'
        case marks.Ref(tables=()):
            return "a name"
        case marks.Ref():
            return f"name of a {_or(mark.tables)}"
        case marks.Refs():
            return f"names of a {_or(mark.tables)}"
        case marks.Text():
            return mark.what
        case marks.Names():
            return f"list: {mark.form.what}"
        case marks.Flag():
            return "`true` or `false`"
        case marks.Cpus():
            return "CPUs"
        case ProfileOf():
            return f"{' or '.join(f'`{name}`' for name in mark.known)}, or [a file of your own](media.md#a-profile-of-your-own)"
        case Values():
            return "list of 2 to 8 values that the key may have"
        case marks.Medium():
            return "parameters, see [media](media.md)"
    return "table"


def _range(low: str, high: str, bounded: bool) -> str:
    return f"{low} to {high}" if bounded else f"from {low}"


def _or(tables: tuple[str, ...]) -> str:
    if set(BLOCK) <= set(tables):
        return " or ".join(("block device", *(t for t in tables if t not in BLOCK)))
    return " or ".join(tables)


def _default(f: Field[Any], hint: Any) -> str:
    """A field's default as one would write it."""
    if f.default is MISSING:
        return "required" if f.default_factory is MISSING else "empty"
    mark = next((m for m in _marks(hint) if isinstance(m, marks.Marker)), None)
    match f.default, mark:
        case None, _:
            return "none"
        case (), _:
            return "none"
        case bool(), _:
            return f"`{str(f.default).lower()}`"
        case Profile(name=name), _:
            return f"`{name}`"
        case _, marks.Size():
            return f"`{format_size(f.default)}`"
        case _, marks.Sizes():
            return f"`{'-'.join(format_size(size) for size in sorted(set(f.default)))}`"
        case _, marks.Duration():
            return f"`{format_time(f.default)}`"
    return f"`{f.default}`"


def _words(names: Any) -> str:
    return ", ".join(f"`{n}`" for n in names)


def _pairs() -> str:
    return ", ".join(f"`{short}` (`{name}`)" for short, name in ALIASES.items())


def _reasons() -> str:
    reasons: dict[str, list[str]] = {}
    for name, why in REFUSED.items():
        reasons.setdefault(why, []).append(name)
    return "; ".join(f"{_words(names)}: {why}" for why, names in reasons.items())


# -- media and profiles ----------------------------------------------------------------------------------------

MEDIA_HEAD = f"""\
{NOTE}
# Media and profiles

A device is of one of the kinds {", ".join(f"`{kind}`" for kind in MEDIA)}. A *profile* says which, and what it is made of: every
number with its unit and its source. `[device.x] profile = "qlc"` takes one as it is; `medium = {{ spare = 280 }}` changes
parameters of all kinds but `nvm`. Those that are live may also be changed while the device is in use, by writing to
`/sys/kernel/config/nvlab/NAME/medium/PARAMETER`. What [zones](zones.md),
[keys](keys.md) and [placement](placement.md) do are pages of their own.

## Parameters
"""


OWN = """\
## A profile of your own

`[device.x] profile = "mine.toml"` takes a profile out of a file, relative to the scenario's. Like nvlab's own it gives each
number with its unit and its source, as the tables here do; an `nvm` device needs all of its six (see `optane`), the other
kinds need those that differ from the defaults above. `nvlab calibrate` [makes one](calibrate.md) of fio's results.

```toml
title = "The drive in my desk"
kind = "ssd"
vwc = true   # whether it has a volatile write cache

[parameters]
channels = { value = 4, unit = "", source = "the vendor's data sheet" }
read_lsb = { value = 61_000, unit = "ns", source = "measured: fio, 4 KiB random reads at queue depth 1, less the link" }
```
"""


WEAR = """\
## What a drive says of itself

`waf` in `stats` is the write amplification so far, in thousandths: `host_units`, `gc_units`, `pad_units` and `map_units`
together over `host_units`; 0 before anything was written. It is the last 64-bit number of log page C0h too (byte 504), behind the
accounts, as the standard's SMART log has no field for it:
`nvme get-log /dev/nvme0 --log-id=0xc0 --log-len=512 -b | od -A n -t u8 -j 504`.

SMART tells the health of what has flash. *Available spare* is what is left of the reserve, in percent: `usable_units` over what
the drive needs to write, as a part of what a drive without a bad block has over it. *Percentage used* is `most_erases` (or of a
zone) over `endurance`; 0 without one, 255 at most. Under a spare of 10 % bit 0 of the critical warning is set, and bit 3 when the
medium can no longer be written. Hosts that enable these bits (feature 0Bh; Linux does not) get the events: 02h, spare below
threshold; 00h, reliability compromised.

With an `awupf` an SSD of 512-byte blocks has its namespaces say what is atomic (NAWUN, NAWUPF and their boundaries, of which
Linux makes atomic writes): a write inside one page of 4 KiB is seen whole or not at all, and a power cut tears no write there of
up to `awupf`, or the page. The model, and so the simulator and every cut, keeps larger writes whole too; but others may see them
half done, so they are not promised. A read with FUA, a Compare or a Verify has what it reads put on the medium before, as a Flush
does, if a cut might take it back.

Only what has flash loses anything at a cut. Kind `nvm` keeps what it was given even with `vwc = true`, as does `hdd`: of them it
is what a device says of itself, so that hosts send Flushes.

## A map that memory does not hold

The map of an SSD takes 4 bytes for each 4 KiB: 1 GiB of memory for 1 TiB. Drives with less keep it on the medium, and a part of
it in memory, as DFTL does (Gupta et al., ASPLOS 2009). `mapping_cache` says how much memory there is, in KiB; 0, the default, is
as much as the map takes. It is for SSDs with a map of their own (kind `ssd`), and fixed while the device is in use.

- A page of the map is 4 KiB and says where 1024 units (4 MiB) lie. Which pages stay in memory a clock decides (second chance).
  Where each page lies on the medium is always known, so a miss costs one read.
- A read looks up all its pages of the map when its firmware time is over, and goes on when the last is there. On an idle drive a
  miss adds one sense and the transfer of 4 KiB, on the die where the page lies; a page that was never written, or waits for its
  program, costs nothing.
- A write is acknowledged when it is buffered, as without the option; its program waits for the page of the map. The page of a
  write of less than a unit is waited for: the rest of the unit is read.
- Garbage collection, deallocation and power cuts change the map too, through the same memory. They are not counted as hits or
  misses, but what they read and write is counted.
- A page that was changed is written when it is given up, and no command waits for that. Pages are programmed with others, a word
  at a time, on lines that hold nothing else: 4 times the map, in whole lines, and two, out of the spare space. When these are
  used up the emptiest is collected.
- After a power cut, or a rest, memory is empty. What was changed and not yet written is written at once: a drive finds it by the
  pages that it reads then (`recovery`). A Flush does not write the map.

`stats` (and log page C0h) has `map_hits` and `map_misses`: together all units read or written for hosts. `map_reads` are senses
for the map, a part of `senses`; `map_units` are pages of it written, `map_moved` those of them that were moved when one of its
lines was collected. Write amplification has them in: `host_units`, `gc_units`, `pad_units` and `map_units` are
`programmed_units` and `open_units` together.

Reads of 4 KiB, 5,000 in a second, on a `tlc-enterprise` of 4 GiB that was written in order; its map has 4 MiB. Uniform; by a
Zipf law (exponent 1.1) of single units; and by the same law of stretches of 4 MiB, as large as what a page of the map is of:

| memory | uniform: hits | p50 | p99 | units: hits | p50 | p99 | stretches: hits | p50 | p99 |
| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |
| all | 100 % | 88 us | 88 us | 100 % | 88 us | 88 us | 100 % | 88 us | 88 us |
| 1/2 | 50 % | 88 us | 155 us | 78 % | 88 us | 155 us | 90 % | 88 us | 155 us |
| 1/4 | 25 % | 155 us | 155 us | 62 % | 88 us | 155 us | 80 % | 88 us | 155 us |
| 1/10 | 10 % | 155 us | 155 us | 46 % | 155 us | 155 us | 66 % | 88 us | 155 us |
| 1/100 | 1 % | 155 us | 155 us | 16 % | 155 us | 155 us | 28 % | 155 us | 155 us |

To be learnt: of uniform reads the part that hits is the part that is in memory, whatever is given up. What is popular must lie
together to be worth keeping: single popular units among others waste the other 1023 places of their page. And a median says
nothing of a map that holds half: it jumps from 88 to 155 us when misses become more than hits.

Random writes of 4 KiB in steady state on the same drive, buffered, as many as it takes: pages of the map programmed for each
unit written, all that is programmed for it (write amplification), and how many units in a second:

| memory | uniform: of the map | in all | IOPS | stretches: of the map | in all | IOPS |
| --- | --- | --- | --- | --- | --- | --- |
| 0: no map on the medium | 0 | 2.50 | 42,600 | 0 | 2.88 | 36,400 |
| all | 0 | 2.54 | 41,700 | 0 | 2.93 | 35,400 |
| 1/2 | 1.24 | 3.78 | 20,400 | 0.52 | 3.44 | 25,500 |
| 1/4 | 1.87 | 4.41 | 17,300 | 0.95 | 3.89 | 21,200 |
| 1/10 | 2.25 | 4.79 | 15,900 | 1.36 | 4.29 | 18,300 |
| 1/100 | 2.48 | 5.03 | 15,300 | 2.18 | 5.11 | 14,500 |

A unit that is written and misses costs a page of the map, and so does each unit that collection moves: with uniform writes about
(1 + copies) x misses, here 2.54 x 0.5 = 1.27 at one half. So a small map doubles what garbage collection already costs, and
spare space pays twice. Lines for the map alone cost little: from 2.50 to 2.54.

## Read disturb and retention

To read a page disturbs the others of its block, and cells lose charge with time. Before errors are more than can be corrected,
drives move the data and erase the block. `read_disturb` is how many page reads a line stands, `retention` for how many ms it
keeps data; 0, the default of both, is for ever. Both may be changed in use.

- Reads are counted for a line as a whole (the same block of every die) since it was begun: every sense for hosts, for a unit of
  which a part is written, or for a page of the map. What collection reads is not counted.
- A line's age is that of its oldest data: since it was begun, in the device's own time. Time that a drive is switched off does
  not count, and its clock may be set. A line that is open is closed, padded, when it is due.
- The first command after a line is due begins with it: it is collected, as a victim of its own kind, and one word (program) is
  moved when the last is done. What is in hand is ended first; of several lines the oldest is next. There is no pause in which it
  must fit: commands find a die or a channel taken by one word, at most.
- One after the other is 60 MB/s on `tlc-enterprise`. Where a `retention` is shorter than all the data take at that rate, it
  cannot be kept. A drive at the end of its life (`read_only`) moves nothing. Zones are the host's to rewrite.

`disturb_victims` and `retention_victims` count lines, `gc_units` what was moved. The same drive and reads by stretches for a
minute, just after it was filled, so that of a retention of a minute there is only the beginning:

| option | lines moved | units moved | p50 | p99 | p99.9 | max |
| --- | --- | --- | --- | --- | --- | --- |
| none | 0 | 0 | 88 us | 88 us | 88 us | 88 us |
| `read_disturb = 10_000` | 7 | 5,376 | 88 us | 88 us | 88 us | 480 us |
| `read_disturb = 1_000` | 154 | 117,600 | 88 us | 98 us | 384 us | 506 us |
| `retention = 60_000` | 65 | 49,824 | 88 us | 88 us | 269 us | 518 us |
| `retention = 20_000`, not to be kept | 1,171 | 899,184 | 88 us | 357 us | 473 us | 522 us |

To be learnt: a load that only reads writes. Each `read_disturb` reads of a line cost a line of copies, so it is hot lines that
are moved, again and again, and the tail that shows it, not the median. Retention moves everything once in its time, read or not.

```toml
[device.small]
size = "4G"
profile = "tlc-enterprise"
medium = { mapping_cache = 409, read_disturb = 10_000, retention = 60_000 }
```
"""


def media_page() -> str:
    """docs/media.md."""
    lines = ["| parameter | what | values | unit | default | live |", "| --- | --- | --- | --- | --- | --- |"]
    lines += [
        f"| `{p.name}` | {p.what} | {p.low} to {p.high} | {p.unit} | {p.initial} | {'yes' if p.live else ''} |"
        for p in PARAMETERS.values()
    ]
    return "\n".join([MEDIA_HEAD, *lines, "", WEAR, OWN, "## Profiles", "", *(_profile(p) for p in profiles().values())])


def _profile(profile: Profile) -> str:
    values = profile.timing if profile.kind == "nvm" else profile.model
    cache = "a volatile write cache" if profile.vwc else "no volatile write cache"
    rows = "\n".join(f"| `{name}` | {values[name]} | {source} |" for name, source in profile.sources.items())
    head = f"### {profile.name}\n\n{profile.title}. Kind `{profile.kind}`, {cache}.\n\n"
    return f"{head}| parameter | value | source |\n| --- | --- | --- |\n{rows}\n"


# -- the command line ------------------------------------------------------------------------------------------

COMMANDS = f"""\
{NOTE}
# nvlab

## Name

nvlab - a whole NVMe lab from one file: virtual devices, RAID, cache, NVMe/TCP, workload, report

## Synopsis

`nvlab VERB [options]`

## Description

`nvlab up` builds the lab that a scenario file describes, `nvlab run` measures it, `nvlab report` draws what was measured, and
`nvlab down` removes every trace of the lab. By default a lab lives in a throwaway virtual machine: no root is needed, and nothing
of the host is changed. `up --on local` builds it on this machine itself, `up --on ssh:HOST` on another one; the other verbs
find it there.

Results go to stdout, progress and errors to stderr. Every verb takes `--json` (the result as JSON), `-q` (no progress), `--debug`
(a traceback with an error) and `--help`. Ctrl-C once stops and undoes; twice leaves everything as it is.

## Commands
"""

REST = """\
## Environment

| variable | what |
| --- | --- |
| `NVLAB_STATE` | guests, records of labs, built modules (default: `$XDG_STATE_HOME/nvlab`, `~/.local/state/nvlab`) |
| `NVLAB_RUNS` | where run directories are made (default: `./runs`) |
| `NO_COLOR` | no colour, when set and not empty |

## See also

The scenario file: nvlab-scenario(5). mdadm(8), dmsetup(8), nvme(1), fio(1), vng(1), ssh(1).
"""


def command_page() -> str:
    """docs/nvlab.md."""
    parts = [COMMANDS]
    for words, parser in _leaves(cli.parser(), ()):
        parts += _command(words, parser)
    parts += ["## Exit status\n", _exit_codes(), REST]
    return "\n".join(parts)


def _leaves(
    parser: argparse.ArgumentParser, words: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], argparse.ArgumentParser]]:
    inner = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not inner:
        yield words, parser
    for action in inner:
        for name, sub in action.choices.items():
            yield from _leaves(sub, (*words, name))


def _command(words: tuple[str, ...], parser: argparse.ArgumentParser) -> Iterator[str]:
    common = ("help", "json", "quiet", "debug")
    own = [a for a in parser._actions if a.dest not in common]
    yield f"### nvlab {' '.join(words)} {' '.join(map(_usage, own))}".rstrip() + "\n"
    yield f"{parser.description}\n"
    if own:
        yield "\n".join(f"- {_name(a)}: {a.help}" for a in own) + "\n"
    yield f"Example: `{(parser.epilog or '').partition('example:')[2].strip()}`\n"


def _usage(action: argparse.Action) -> str:
    word = (
        " ".join((action.option_strings[-1], _metavar(action))).strip() if action.option_strings else _metavar(action)
    )
    optional = action.nargs == "?" or (action.option_strings and not action.required)
    return f"[{word}]" if optional else word


def _metavar(action: argparse.Action) -> str:
    return "" if action.nargs == 0 else str(action.metavar or action.dest.upper())


def _name(action: argparse.Action) -> str:
    return f"`{action.option_strings[-1] if action.option_strings else _metavar(action)}`"


def _exit_codes() -> str:
    kinds: dict[int, type[errors.NvlabError]] = {c.exit_code: c for c in errors.NvlabError.__subclasses__()}
    rows = ["| code | when |", "| --- | --- |", "| 0 | it is done |"]
    said = {code: (kind.__doc__ or "").partition(".")[0].replace("``", "`") for code, kind in sorted(kinds.items())}
    said[2] = "The command line is wrong, or the scenario is; nothing was touched"
    rows += [f"| {code} | {text[0].lower()}{text[1:]} |" for code, text in said.items()]
    return "\n".join(rows) + "\n"


# -- main ------------------------------------------------------------------------------------------------------


def pages() -> dict[Path, str]:
    """Every generated page."""
    return {DOCS / "scenario.md": scenario_page(), DOCS / "media.md": media_page(), DOCS / "nvlab.md": command_page()}


def main() -> None:
    check = "--check" in sys.argv[1:]
    stale = [path for path, text in pages().items() if not path.exists() or path.read_text() != text]
    for path in stale:
        if not check:
            path.write_text(pages()[path])
        print(f"{path.relative_to(DOCS.parent)}: {'out of date; run python tools/docs.py' if check else 'written'}")
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
