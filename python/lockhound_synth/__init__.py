"""The dump forge: writes labelled synthetic Windows dumps; shares nothing with the reader.

**Machine.** `machine.Machine` is an x64 Windows of one build as memory holds it: RAM runs with holes, page tables with large and
transition entries, pools, nt with its globals, drivers with real images, processes and threads, devices, packets (`packets`), the PFN
database (`frames`), the processor block with its lookaside lists and the crash (`cpu`), the debugger data block. Structure offsets come
from `types-six-kernels.json.xz` by `generate_layouts`; the reader's come from another file by another generator, so that a mistake in one
of them shows as a disagreement. Two builds have no symbol file (`layouts.derived`): 26100 rests on collected facts, with places of the
forge's own choice where they give none, and 23456 is a build that no table knows, with fields pushed apart by the seed; its debugger
block tells the offsets that such a block carries. With `genuine=True` nt takes the identity and the RVAs of a public symbol file (7601,
19041, 22000).

**Scenario.** `scenarios.build(name, build=19041, seed=0)` stages a plausible system, lets a story do its harm and closes the machine.
Names: `scenarios.NAMES`, `scenarios.MORE` with harder ones and `scenarios.FURTHER` with longer ways to a holder; builds:
`scenarios.ALL_BUILDS`, of which `builds_of(name)` can tell that story. Everything random follows from name, build and seed: the same
three give the same bytes. `layout_seed=` tells the same story (who, how many pages, which verdict) at other addresses and in other frames.
Every machine holds decoys, values that look like evidence and are none; `Forged.check` raises where one is not in the pages.

**Truth.** `Forged.truth` says in the words of the case schema what an honest reader may conclude: the kind of verdict, the drivers with
their pages, the ledger with every standing lock, what only looks like one (`considered`), and who is innocent (everybody else). The
ledger is checked against the locks and pins that the machine itself kept. Names in it are raw, as the machine holds them, control
characters and lone surrogates included. `aliases` gives second addresses of an MDL told under its first; `ledger.explained_range` stands
where copies can't be told from locks.

**Files.** `Forged.write(path, type)` writes types 1 (full), 5 (bitmap, full) and 6 (bitmap, kernel pages). `Forged.evidence_pages` names
the frames of the evidence, and `Forged.without(frames)` leaves pages out as if they had not been captured: labels are `eprocess`, `mdl:N`
(row N of the ledger), `irp:N`, `device:DRIVER`, `driver_object:DRIVER`, `driver_name:DRIVER`, `kldr:FILE`, `module_name:FILE`,
`image_header:FILE` (each also without the name, for the first driver that is named), `kdbg`, `nt_image_header`, `processor_block`,
`prcb_lookaside`, `mdl_list:N`, `pfn_database`, `counts:N` (PFN entries of the ledger's frames), `considered:N`, `page_table:N` and
`page_root`, `keeper` (who keeps a packet's address), `filter_device:N`, `file`, `tracker:N`, `unlocked_mdl`; `LABEL+1` and
so on for further pages of one object.

**Driver images.** `driver_image.plain_image` assembles drivers that call what they import, with `.pdata`, relocations, a debug directory
and a version resource. `pe.load.load` reads any PE32+ driver; `scenarios.build(..., images={"name.sys": image})` lets compiled ones play
the invented drivers of the story.

**Witnesses.** Other people's tools read what the forge wrote (`tests/witness`): kdmp-parser the header, pages and translations,
volatility3 with genuine symbol files the lists of processes and modules, llvm-readobj and pefile the images.
"""
