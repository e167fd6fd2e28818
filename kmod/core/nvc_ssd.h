/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What only a device with an SSD inside can be asked: its accounts, its map,
 * a power cut, and its state to be taken elsewhere. Declarations only, as in
 * nvc.h; the same lock.
 */
#ifndef NVC_SSD_H
#define NVC_SSD_H

#include "nvc.h"

/* nvc_place(): this mapping unit is nowhere on the medium. */
#define NVC_UNMAPPED 0xffffffff

/**
 * struct nvc_ssd_stats - accounts of an SSD, exact. Units are 4 KiB
 * @host_units: written for the host
 * @gc_units: copied by garbage collection, wear levelling or recovery
 * @pad_units: programmed with nothing in them: after a flush or FUA, after a
 *	failed program, after a power cut
 * @programmed_units: all of them: @host_units + @gc_units + @pad_units, less
 *	@open_units. Over @host_units this is write amplification
 * @open_units: taken, but their program is not full yet
 * @programs: program operations
 * @erases: of lines
 * @senses: page reads, of every cause
 * @merge_reads: senses for writes of less than a unit
 * @buffer_hits: units read that were still in the write buffer
 * @victims: lines collected
 * @wear_victims: of these, for wear levelling
 * @mapped_units: logical units that lie somewhere
 * @units: logical units there are
 * @lines: superblocks there are: the four states below together
 * @free_lines: erased
 * @open_lines: being filled
 * @closed_lines: filled
 * @retired_lines: without a good block left
 * @line_units: units of a line without bad blocks
 * @usable_units: units of all lines that are not on bad blocks
 * @bad_blocks: now
 * @least_erases: of any line in use
 * @most_erases: of any line
 * @power_cuts: nvc_cut() so far
 * @lost_units: undone by power cuts
 * @read_only: 1 when there are too few good blocks left to write
 */
struct nvc_ssd_stats {
	u64 host_units;
	u64 gc_units;
	u64 pad_units;
	u64 programmed_units;
	u64 open_units;
	u64 programs;
	u64 erases;
	u64 senses;
	u64 merge_reads;
	u64 buffer_hits;
	u64 victims;
	u64 wear_victims;
	u64 mapped_units;
	u64 units;
	u64 lines;
	u64 free_lines;
	u64 open_lines;
	u64 closed_lines;
	u64 retired_lines;
	u64 line_units;
	u64 usable_units;
	u64 bad_blocks;
	u64 least_erases;
	u64 most_erases;
	u64 power_cuts;
	u64 lost_units;
	u64 read_only;
};

/**
 * struct nvc_lost - what a power cut undoes of a write
 * @seq: number of the write; restore what was there before it
 * @first: first sector of the medium: its byte divided by 512
 * @count: sectors, all in one mapping unit
 */
struct nvc_lost {
	u64 seq;
	u64 first;
	u32 count;
};

/**
 * struct nvc_snapshot - goes before the memory of a device that is kept elsewhere
 * @magic: NVC_SNAPSHOT_MAGIC
 * @layout: tells builds apart whose structures differ
 * @size: of the memory, nvc_size()
 * @checksum: of the memory
 * @config: of the device
 */
struct nvc_snapshot {
	u64 magic;
	u64 layout;
	u64 size;
	u64 checksum;
	struct nvc_config config;
};

/**
 * nvc_stats() - read the accounts
 * @c: the device
 * @stats: a copy; all zero if there is no SSD inside
 */
void nvc_stats(const struct nvc *c, struct nvc_ssd_stats *stats);

/**
 * nvc_place() - where a mapping unit lies
 * @c: the device, with an SSD inside
 * @unit: 4 KiB unit, inside the device
 *
 * Return: physical unit: line * line_units + place in the line; or NVC_UNMAPPED.
 */
u32 nvc_place(const struct nvc *c, u32 unit);

/**
 * nvc_set_model() - change live parameters, all at once
 * @c: the device
 * @now: ns
 * @model: for every later command; what was promised stays promised
 *
 * Takes a sequence number, unless refused.
 *
 * Return: 0, -EBUSY (something else than live parameters differs), or -ERANGE.
 */
int nvc_set_model(struct nvc *c, u64 now, const struct nvc_model *model);

/**
 * nvc_undo_units() - how much old content a power cut may ask for
 * @c: the device
 *
 * The caller keeps the old content of the blocks of this many latest 4 KiB
 * units written, each command's parts counted for themselves.
 *
 * Return: units; 0 where nothing is ever lost.
 */
u32 nvc_undo_units(const struct nvc *c);

/**
 * nvc_cut() - the power goes, and comes back
 * @c: the device
 * @now: ns, when it goes; a command due later was not completed
 * @lost: nvc_undo_units() entries: what to restore, in this order
 * @ready: ns, when the device works again
 *
 * Nothing is lost that was due before a Flush or a FUA write that was due by
 * @now. Takes a sequence number.
 *
 * Return: entries of @lost.
 */
u32 nvc_cut(struct nvc *c, u64 now, struct nvc_lost *lost, u64 *ready);

/**
 * nvc_freeze() - make the device's memory fit to be written out
 * @c: the device; nothing but nvc_thaw() may touch it from here on
 * @snapshot: filled in
 */
void nvc_freeze(struct nvc *c, struct nvc_snapshot *snapshot);

/**
 * nvc_thaw() - go on, here or with memory read in elsewhere
 * @c: nvc_size() bytes as nvc_freeze() left them
 * @snapshot: as nvc_freeze() made it
 * @config: of the device that is wanted
 *
 * Return: 0, -EINVAL (no snapshot, or of another build), -EMEDIUMTYPE (of
 * another device), or -EBADMSG (damaged). Refused, @c must not be used.
 */
int nvc_thaw(struct nvc *c, const struct nvc_snapshot *snapshot,
	     const struct nvc_config *config);

#endif
