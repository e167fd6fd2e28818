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
 * @programmed_units: all of them: @host_units + @gc_units + @pad_units +
 *	@map_units, less @open_units. Over @host_units this is write amplification
 * @open_units: taken, but their program is not full yet
 * @programs: program operations
 * @erases: of lines and zones
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
 * @discarded_units: of zones, written for the host and gone before they were
 *	programmed: with these, @programmed_units + @open_units +
 *	@discarded_units = @host_units + @gc_units + @pad_units + @map_units
 * @zones: zones there are
 * @active_zones: of these, open or closed
 * @open_zones: of these, open
 * @zone_erases: resets that had something to erase; also counted in @erases
 * @keys: keys there are
 * @value_units: that their values take
 * @value_bytes: that their values have
 * @erased_units: of the good blocks of lines erased
 * @disturb_victims: of @victims, for having been read too often
 * @retention_victims: of @victims, for their age alone
 * @map_hits: units read or written for the host whose page of the map was in memory
 * @map_misses: those whose page was not
 * @map_reads: senses for pages of the map, of every cause
 * @map_units: pages of the map written, of every cause
 * @map_moved: of these, by collection of the map's own lines
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
	u64 discarded_units;
	u64 zones;
	u64 active_zones;
	u64 open_zones;
	u64 zone_erases;
	u64 keys;
	u64 value_units;
	u64 value_bytes;
	u64 erased_units;
	u64 disturb_victims;
	u64 retention_victims;
	u64 map_hits;
	u64 map_misses;
	u64 map_reads;
	u64 map_units;
	u64 map_moved;
};

/**
 * struct nvc_health - how worn a device is
 * @spare: percent of the blocks in reserve that are left, until the drive must stop
 *	writing; 100 of what has none
 * @used: percent of the endurance that the line or zone erased most often has seen; may
 *	be more than 100; 0 where there is no such number
 * @read_only: it can no longer be written
 */
struct nvc_health {
	u32 spare;
	u32 used;
	u32 read_only;
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
 * struct nvc_snapshot - goes before the image of a device that is kept elsewhere
 * @magic: says that it is one, and how it is written
 * @layout: tells builds apart whose structures differ
 * @size: bytes of the image
 * @checksum: of the image
 * @config: of the device
 *
 * A snapshot is this and @size bytes of image. It has what the controller knows,
 * not what the blocks hold: their content is the caller's to keep. It was made by
 * a core of the same build: x86-64's little end first, no pointers in it.
 *
 * To write one, with no input in between: nvc_freeze(), then nvc_save() of any
 * pieces in any order, as a file is read. To read one: nvc_init() as the device
 * is to be; nvc_fits(), before much is copied; nvc_load() of all pieces, each as
 * it comes; nvc_thaw(); and where time is not the snapshot's, nvc_wake().
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
 * nvc_health() - read how worn a device is
 * @c: the device
 * @health: a copy; of another kind it is as new
 */
void nvc_health(const struct nvc *c, struct nvc_health *health);

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
 * Nothing is lost that was due before a Flush that was due by @now, that was written
 * with FUA and due by then, or read so. Takes a sequence number.
 *
 * Return: entries of @lost.
 */
u32 nvc_cut(struct nvc *c, u64 now, struct nvc_lost *lost, u64 *ready);

/**
 * nvc_wake() - the drive was switched off in order, and is on again
 * @c: the device
 * @now: ns, of another clock perhaps, that all later times are of
 *
 * What was buffered is on the medium, and nothing under way; no later nvc_cut()
 * undoes anything of before. Takes a sequence number.
 */
void nvc_wake(struct nvc *c, u64 now);

/**
 * nvc_freeze() - begin to write a snapshot
 * @c: the device, which stays as it is
 * @snapshot: filled in
 */
void nvc_freeze(const struct nvc *c, struct nvc_snapshot *snapshot);

/**
 * nvc_save() - copy a piece of the image out
 * @c: the device, as nvc_freeze() saw it
 * @offset: bytes into the image
 * @piece: where to
 * @bytes: of the piece; what lies beyond the image stays as it was
 */
void nvc_save(const struct nvc *c, u64 offset, void *piece, size_t bytes);

/**
 * nvc_load() - copy a piece of an image in
 * @c: a device that was made for it; not to be used but by nvc_thaw() from now on
 * @offset: bytes into the image
 * @piece: where from
 * @bytes: of the piece; what lies beyond the image is ignored
 */
void nvc_load(struct nvc *c, u64 offset, const void *piece, size_t bytes);

/**
 * nvc_fits() - is it a snapshot of such a device
 * @c: the device
 * @snapshot: the header
 *
 * What may change in use (timing, live parameters) may differ; the device's own
 * stay in force.
 *
 * Return: 0, -EINVAL (no snapshot, or of another build), or -EMEDIUMTYPE (of
 * another device).
 */
int nvc_fits(const struct nvc *c, const struct nvc_snapshot *snapshot);

/**
 * nvc_thaw() - go on from an image
 * @c: a device that nvc_load() was given all of it for
 * @snapshot: its header
 *
 * Every number of it is looked at, whatever the checksum says. What is taken is a
 * device as any other: no command to it does what it should not.
 *
 * Return: 0, as nvc_fits(), or -EBADMSG (damaged, or no device can be so).
 * Refused, @c is to be made anew.
 */
int nvc_thaw(struct nvc *c, const struct nvc_snapshot *snapshot);

#endif
