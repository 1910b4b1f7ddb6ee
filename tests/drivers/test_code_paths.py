"""Code as witness on compiled code: each function is found to do what its name says, and nothing else."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import lockhound as lh
from lockhound_synth import scenarios
from lockhound_synth.forge import Forged
from lockhound_synth.machine import Machine, Module
from lockhound_synth.scenarios.stage import Stage
from tests.drivers.compile import compile_paths, missing_tools
from tests.reader.scene import Loose

GUILTY = {
    "lost_on_error": "lock_lost",
    "lost_always": "lock_lost",
    "lost_in_a_loop": "lock_lost",
    "lost_on_the_stack": "lock_lost",
    "lost_in_a_large_frame": "lock_lost",
    "lost_behind_a_guard": "lock_lost",
    "lost_in_the_second_part": "lock_lost",
    "flag_given_away": "lock_lost",
    "lost_sight_of_the_other": "lock_lost",  # of the way that has nothing any more, which comes first
    "lost_sight_of_the_other_in_the_frame": "lock_lost",
    "freed_locked": "freed_locked",
    "unlocked_twice": "unlocked_twice",
    "argument_unlocked_twice": "unlocked_twice",
    "never_locked": "never_locked",
    "lost_by_code": "lock_lost",
    "lost_in_one_case": "lock_lost",
    "lost_though_mapped": "lock_lost",
    "lost_by_the_flags": "lock_lost",
    "lost_by_several_flags": "lock_lost",
    "lost_the_first_of_two": "lock_lost",
    "freed_by_one_exit": "freed_locked",
    "freed_after_a_break": "freed_locked",
    "lost_by_bytes": "lock_lost",
    "lost_by_a_retpoline": "lock_lost",
    "lost_by_a_mask": "lock_lost",
    "lost_below": "lock_lost",
    "lost_by_helpers": "lock_lost",
    "lost_beside_a_helper": "lock_lost",
    "freed_by_a_helper": "freed_locked",
    "freed_locked_by_a_helper": "freed_locked",
    "twice_by_a_helper": "unlocked_twice",
    "lost_through_a_pointer": "lock_lost",
    "freed_through_a_pointer": "freed_locked",
    "lost_though_it_could": "lock_lost",
    "lost_two_functions_deep": "lock_lost",
    "lost_the_second_of_two": "lock_lost",
    "lost_in_a_structure": "lock_lost",
    "lost_with_an_event": "lock_lost",
    "shortened": "length_changed",
    "shortened_to_what_was_done": "length_changed",
    "shortened_by_a_part": "length_changed",
}
# What is made for reading by people keeps its variables in memory, and a few of these then can't be told.
UNOPTIMISED = frozenset(GUILTY) - {
    "lost_in_a_large_frame", "never_locked", "lost_by_code", "lost_in_one_case", "lost_by_helpers", "freed_by_a_helper",
    "freed_locked_by_a_helper", "twice_by_a_helper", "lost_though_it_could", "lost_two_functions_deep", "lost_in_a_structure",
    "lost_with_an_event",
}  # fmt: skip
TABLE = "a table of jumps is not followed"
DEPENDS = "its questions depend on each other"
TOO_MANY = "it has too many ways"
# Functions that may be left open: whatever they do, they are said to do nothing wrong.
OPEN = {
    "by_a_table": frozenset({TABLE}),
    "table_without_a_bound": frozenset({TABLE}),
    "table_of_another_register": frozenset({TABLE}),
    "table_that_leads_elsewhere": frozenset({TABLE}),
    "table_of_a_changed_index": frozenset({TABLE}),
    "goes_on_elsewhere": frozenset({"a part of it lies elsewhere"}),
    "the_other_part": frozenset({"its frame is not of a kind that is followed"}),
} | dict.fromkeys(
    (
        "unlocked_one_behind", "fine_by_two_tables", "fine_by_a_table_and_a_number", "fine_by_a_chosen_number",
        "fine_all_of_an_array", "fine_by_bits", "fine_by_steps", "fine_at_the_third_time", "fine_with_a_pair",
        "fine_by_success_alone", "fine_flag_stored_later", "fine_bit_set_later",
        # what others may have written, and what goes together with how a function ended
        "fine_in_a_context_of_the_frame", "fine_by_its_flag", "fine_relocked", "fine_relocked_in_a_loop", "fine_array_loop",
        "fine_flag_beside_an_event", "fine_flag_in_front_of_an_event", "fine_bit_of_a_flag", "fine_bit_in_the_frame",
        "fine_by_success_and_count",
    ),
    frozenset({DEPENDS, TOO_MANY}),
)  # fmt: skip
# The selector lies in the frame between its comparison and the table; and of results that lie there less is known.
OPEN_UNOPTIMISED = dict.fromkeys(
    (
        "fine_by_code", "lost_by_code", "fine_locked_before_the_table", "lost_in_one_case", "fine_by_two_tables",
        "fine_by_a_table_and_a_number",
    ),
    frozenset({TABLE}),
) | dict.fromkeys(
    (
        "fine_given_through_a_pointer", "fine_through_a_pointer", "lost_through_a_pointer", "freed_through_a_pointer", "fine_if_it_could",
        "lost_though_it_could", "fine_stored_afterwards", "fine_in_the_packet", "fine_given_to_somebody", "fine_pointer_given_to_somebody",
        "fine_two_of_them", "lost_the_second_of_two", "fine_one_after_the_other", "fine_whether_there_is_one", "fine_array", "fine_moved",
        "fine_ended_by_its_place", "fine_ended_by_its_place_at_last", "lock_or_count", "fine_wrapped_inner",
    ),
    frozenset({DEPENDS}),
)  # fmt: skip
FORMS = {
    "unlock_plain": ["slot"],
    "unlock_optimised": ["slot"],
    "unlock_linked": ["linked"],
    "unlock_retpoline": ["dispatched"],
    "unlock_guarded": ["dispatched"],
    "unlock_by_thunk": ["thunk"],
    "unlock_register": ["register"],
    "unlock_saved_register": ["register", "register"],
}


@dataclass(frozen=True)
class Witness:
    """A driver in a dump."""

    module: Module
    dump: lh.Dump

    def function(self, name: str) -> str:
        """As the profile names one."""
        return f"{self.module.name}+{self.module.symbols[name] - self.module.base:#x}"

    def named(self, shown: str) -> str:
        """The reverse."""
        by_address = {address: name for name, address in self.module.symbols.items()}
        return by_address[self.module.base + int(shown.partition("+")[2], 16)]


def link(machine: Machine, module: Module) -> None:
    """As the loader does where the kernel is near: the call of an import becomes mov r10, [slot] and a call of the routine."""
    at = module.symbols["unlock_linked"] + 4
    old = machine.space.read(at, 12)
    assert old[:3] == b"\x48\xff\x15"
    target = machine.nt_base + machine.kernel.exports["MmUnlockPages"]
    machine.space.write(at, b"\x4c\x8b\x15" + old[3:7] + b"\xe8" + struct.pack("<i", target - (at + 12)))


def retpoline(machine: Machine, module: Module) -> None:
    """As the loader does for a jump through rcx: the retpolines lie behind the image."""
    at = module.symbols["retpoline_jump"]
    assert machine.space.read(at, 2) == b"\xff\xe1"
    machine.space.write(at, b"\xe9" + struct.pack("<i", module.base + module.size + 0xA0 + 0x20 * 1 - (at + 5)))


def load_paths(machine: Machine, out: Path, level: str) -> Module:
    """Compiles and loads the driver; the forge's kernel lacks routines that the real one exports."""
    kernel = machine.modules[0]
    kernel.symbols |= {"memcpy": kernel.base + 0x1230, "memset": kernel.base + 0x1240}
    return machine.load(compile_paths(out, level))


@pytest.fixture(scope="module", params=["-O0", "-O1", "-O2", "-Os"])
def level(request: pytest.FixtureRequest) -> str:
    """How it is compiled."""
    return str(request.param)


def machine_of_paths(out: Path, level: str) -> tuple[Module, Forged]:
    """A machine that has loaded the compiled driver."""
    stage = Loose("code", 19041, 1)
    stage.make_victim()
    machine = stage.machine
    module = load_paths(machine, out, level)
    unlock = machine.nt_base + machine.kernel.exports["MmUnlockPages"]
    machine.space.write(module.symbols["resolved"], struct.pack("<Q", unlock))
    machine.space.write(module.symbols["guard"], struct.pack("<Q", module.symbols["dispatch_rax"]))
    link(machine, module)
    retpoline(machine, module)
    return module, stage.finish()


@pytest.fixture(scope="module")
def witness(level: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Witness]:
    if missing := missing_tools():
        pytest.skip(f"not installed: {', '.join(missing)}")
    module, forged = machine_of_paths(tmp_path_factory.mktemp("paths"), level)
    with lh.open(forged.to_bytes(6)) as dump:
        yield Witness(module, dump)


def test_findings(witness: Witness, level: str) -> None:
    profile = witness.dump.kernel().lock_profile(witness.module.name)
    found: dict[str, set[str]] = {}
    for row in profile["findings"]:
        found.setdefault(witness.named(row["function"]), set()).add(row["kind"])
    wanted = UNOPTIMISED if level == "-O0" else frozenset(GUILTY)
    assert found == {name: {GUILTY[name]} for name in wanted}
    # a table that is not followed lies in its function as something that is no code
    assert profile["whole"] is (level != "-O0")
    assert level != "-O0" or profile["gap"]["kind"] == "layout"
    assert profile["followed"] >= 70


def test_what_is_not_followed_is_told(witness: Witness, level: str) -> None:
    profile = witness.dump.kernel().lock_profile(witness.module.name)
    rows = {witness.named(row["function"]): row for row in profile["not_followed_functions"]}
    allowed = OPEN | OPEN_UNOPTIMISED if level == "-O0" else OPEN
    assert {name: row["reason"] for name, row in rows.items() if row["reason"] not in allowed.get(name, ())} == {}
    assert profile["not_followed"] == len(rows) == len(profile["not_followed_functions"])
    assert {key: profile["not_followed_functions"][0][key] for key in ("address", "reason")} == profile["not_followed_why"]
    assert {name for name in OPEN if name.startswith(("table_", "goes_"))} <= rows.keys()
    table = witness.module.symbols["by_a_table"]
    assert table < int(rows["by_a_table"]["address"], 16) < table + 0x60


def test_a_way_through_a_table_is_told(witness: Witness, level: str) -> None:
    kernel = witness.dump.kernel()
    profile = kernel.lock_profile(witness.module.name)
    found = [row for row in profile["findings"] if row["function"] == witness.function("lost_by_code")]
    if level == "-O0":
        assert not found
        return
    [lost] = found
    sites = {row["address"]: row for row in profile["sites"]}
    assert sites[lost["first"]]["role"] == "lock"
    blocks = [int(block, 16) for block in lost["blocks"]]
    ends = [next(row.text for row in kernel.disassemble(block, 0x200) if row.flow not in ("next", "call")) for block in blocks]
    assert any(text.startswith("jmp r") for text in ends)


def test_a_finding_tells_its_way(witness: Witness) -> None:
    kernel = witness.dump.kernel()
    profile = kernel.lock_profile("code_paths")
    [lost] = [row for row in profile["findings"] if row["function"] == witness.function("lost_on_error")]
    begin = witness.module.symbols["lost_on_error"]
    assert int(lost["blocks"][0], 16) == begin
    sites = {row["address"]: row for row in profile["sites"]}
    assert sites[lost["first"]]["role"] == "lock"
    assert sites[lost["first"]]["function"] == lost["function"]
    last = int(lost["last"], 16)
    assert kernel.disassemble(last, 1)[0].flow == "return"
    # the way does not come by the unlock
    unlocks = [int(row["address"], 16) for row in profile["sites"] if row["role"] == "unlock" and row["function"] == lost["function"]]
    blocks = [int(block, 16) for block in lost["blocks"]]
    for block in blocks:
        for row in kernel.disassemble(block, 0x200):
            assert row.address not in unlocks
            if row.flow not in ("next", "call") or row.address >= last:
                break
    shown = lost["listing"]
    assert [row["name"] for row in shown if row["address"] == lost["first"]] == ["nt!MmProbeAndLockPages"]
    assert shown[-1]["address"] == lost["last"]
    assert shown[-1]["text"] == "ret"


def test_every_form_of_call_is_a_site(witness: Witness) -> None:
    profile = witness.dump.kernel().lock_profile(witness.module.name)
    forms: dict[str, list[str]] = {}
    for row in profile["sites"]:
        if row["routine"] == "MmUnlockPages":
            forms.setdefault(row["function"], []).append(row["form"])
    for name, wanted in FORMS.items():
        assert forms.get(witness.function(name)) == wanted, name
    for name in ("not_an_unlock", "not_surely_an_unlock", "not_always_an_unlock"):
        assert witness.function(name) not in forms
    assert witness.function("unlock_resolved") in forms
    assert witness.function("released_at_the_end") in forms
    assert witness.function("thunk") not in forms


def test_what_is_missing_is_told(witness: Witness) -> None:
    kernel = witness.dump.kernel()
    whole = kernel.lock_profile(witness.module.name)
    lost = witness.module.symbols["lost_on_error"]
    frame = kernel.walk(lost).physical
    assert frame is not None
    part = witness.dump.without_pages([frame >> 12]).kernel().lock_profile(witness.module.name)
    assert part["whole"] is False
    assert part["missing_bytes"] == 0x1000 == whole["code_bytes"] - part["code_bytes"]
    assert part["gap"] == {"kind": "not_captured", "address": f"{lost & ~0xFFF:#x}"}
    # with less code there is less to find, and nothing new
    assert {(row["kind"], row["first"], row["last"]) for row in part["findings"]} < {
        (row["kind"], row["first"], row["last"]) for row in whole["findings"]
    }


def test_a_stand_in_is_known_by_its_name(witness: Witness) -> None:
    """Driver Verifier puts routines of its own into the slots: the import table says what they stand for."""
    module = witness.module
    assert module.image
    kernel = witness.dump.kernel()
    slot = module.base + next(rva for (_, name), rva in module.image.slots.items() if name == "MmUnlockPages")
    page, frame = slot & ~0xFFF, kernel.walk(slot).physical
    assert frame is not None
    data = bytearray(kernel.read(page, 4096))
    struct.pack_into("<Q", data, slot - page, kernel.modules()[0].base + 0x1234)
    other = witness.dump.with_pages({frame >> 12: bytes(data)}).kernel().lock_profile(module.name)
    before = kernel.lock_profile(module.name)
    assert other["counts"] == before["counts"]
    assert {(row["kind"], row["function"]) for row in other["findings"]} == {(row["kind"], row["function"]) for row in before["findings"]}


@pytest.mark.parametrize(("name", "lead"), [("freed_locked", True), ("no_mdl", True), ("pending_irp", False), ("page_fault", False)])
def test_who_loses_locks_is_a_lead_where_nobody_is_named(name: str, lead: bool, tmp_path: Path) -> None:
    """Beside the story's drivers one is loaded whose code loses locks: it is a suspect where nobody is named, and named nowhere."""
    if missing := missing_tools():
        pytest.skip(f"not installed: {', '.join(missing)}")
    stage = Stage(name, 19041, 2)
    module = load_paths(stage.machine, tmp_path, "-O2")
    (scenarios.STORIES.get(name) or scenarios.MORE_STORIES[name])(stage)
    forged = stage.finish()
    with lh.open(forged.to_bytes(6)) as dump:
        case = dump.investigate(progress=False)
    assert (case.verdict.kind, case.verdict.driver) == (forged.truth.verdict["kind"], forged.truth.verdict["driver"])
    rows = [row["evidence"] for row in case.suspects if row["driver"] == module.name]
    assert bool(rows) == lead
    if lead:
        assert {row["kind"] for row in rows[0]} == {"lock_path"}
        assert all(f"{module.name}+0x" in row["statement"] for row in rows[0])
    shown = [excerpt for excerpt in case.excerpts if excerpt.driver == module.name]
    assert bool(shown) == lead
    for excerpt in shown:
        assert (excerpt.kind, excerpt.reason) == ("lock_path", None)
        assert excerpt.function is not None
        assert [row.address for row in excerpt.listing if row.marked] == [excerpt.address]
    texts = {excerpt.statement: next(row for row in excerpt.listing if row.marked) for excerpt in shown}
    assert not lead or (texts["the MDL is locked"].name or "").endswith("MmProbeAndLockPages")
    assert not lead or texts["the function returns, and the MDL is still locked"].text.startswith(("ret", "jmp", "add"))


@pytest.mark.parametrize(("name", "lead"), [("unlock_length_changed", True), ("unlock_length_own", False)])
def test_who_changes_lengths_is_a_lead_where_that_is_asked(name: str, lead: bool, tmp_path: Path) -> None:
    """Its code changes the length of a locked MDL: told first where the crash says that somebody did, and names it nowhere."""
    if missing := missing_tools():
        pytest.skip(f"not installed: {', '.join(missing)}")
    stage = Stage(name, 19041, 2)
    module = load_paths(stage.machine, tmp_path, "-O2")
    scenarios.MORE_STORIES[name](stage)
    forged = stage.finish()
    with lh.open(forged.to_bytes(6)) as dump:
        case = dump.investigate(progress=False)
    assert (case.verdict.kind, case.verdict.driver) == (forged.truth.verdict["kind"], forged.truth.verdict["driver"])
    rows = [row["evidence"] for row in case.suspects if row["driver"] == module.name]
    told = [row["statement"] for row in rows[0]] if rows else []
    assert [text.startswith("the length of an MDL is changed behind a lock") for text in told] == [True] * 3 + [False] if lead else not told
    texts = {excerpt.statement: row for excerpt in case.excerpts for row in excerpt.listing if row.marked and excerpt.driver == module.name}
    assert not lead or texts["the MDL's length is changed, and the MDL is locked"].text.startswith(("mov dword ptr", "sub [", "mov ["))
