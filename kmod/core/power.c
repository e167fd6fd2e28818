// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The power goes. What was written and neither flushed nor old enough to have
 * left the buffer may be undone, newest first; what is undone in one unit of a
 * write that must not be torn is undone in all. Copies by collection are not
 * lost, since their originals are erased only later.
 */
#include "ssd.h"

static bool in_flight(const struct nvc *c, const struct ssd_undo *entry)
{
	const struct ssd_slot *slot = &ssd_of(c)->a.slots[entry->slot];

	return entry->seq && slot->word == entry->word && slot->done > c->now;
}

static struct ssd_undo *undo_before(struct ssd *s, u32 back)
{
	u32 n = s->shape.undos;

	return &s->a.undo[(s->undo_at + n - back) % n];
}

/* How many entries from @back on are parts of one write that stands or falls together. */
static u32 group_length(struct ssd *s, u32 back)
{
	struct ssd_undo *first = undo_before(s, back);
	u32 n = 1;

	if (!first->whole)
		return 1;
	while (back + n <= s->shape.undos && undo_before(s, back + n)->seq == first->seq)
		n++;
	return n;
}

/* Whether any part of a write is not on the medium. */
static bool group_flies(const struct nvc *c, u32 back, u32 length)
{
	while (length--)
		if (in_flight(c, undo_before(ssd_of(c), back + length)))
			return true;
	return false;
}

/* The sectors of a part of a write. */
static struct nvc_extent part_extent(const struct ssd_undo *entry)
{
	return (struct nvc_extent){
		(u64)entry->unit * SSD_UNIT_SECTORS + entry->first, entry->count
	};
}

static bool group_touches(struct ssd *s, u32 back, u32 length, struct nvc_extent at)
{
	while (length--) {
		struct nvc_extent part = part_extent(undo_before(s, back + length));

		if (part.first < at.first + at.count && at.first < part.first + part.count)
			return true;
	}
	return false;
}

/**
 * nvc_ssd_risks() - whether a power cut might take back what was written
 * @c: the device
 * @at: sectors
 *
 * Return: true if a part of them, or of a write that falls with them, is not on the
 * medium.
 */
bool nvc_ssd_risks(const struct nvc *c, struct nvc_extent at)
{
	struct ssd *s = ssd_of(c);
	u32 length, back;

	for (back = 1; back <= s->shape.undos; back += length) {
		length = group_length(s, back);
		if (group_flies(c, back, length) && group_touches(s, back, length, at))
			return true;
	}
	return false;
}

/*
 * The sectors of the write read as they did before it. Those that had data have
 * them still, unless they were deallocated since, which is kept.
 */
static void restore_sectors(struct nvc *c, const struct ssd_undo *entry)
{
	struct nvc_extent at = { .count = 1 };
	u32 sector;

	for (sector = entry->first; sector < entry->first + entry->count; sector++) {
		at.first = (u64)entry->unit * SSD_UNIT_SECTORS + sector;
		if (!(entry->mask >> sector & 1))
			nvc_map_clear(&c->written, at);
	}
}

/* Whether it is still what the write left: not overwritten, not deallocated. */
static bool current_unit(const struct nvc *c, const struct ssd_undo *entry)
{
	return entry->seq && entry->place != SSD_NONE &&
	       ssd_of(c)->a.l2p[entry->unit] == entry->place && nvc_unit_mask(c, entry->unit);
}

static void undo(struct nvc *c, struct ssd_undo *entry, struct nvc_lost *lost)
{
	struct ssd *s = ssd_of(c);

	lost->seq = entry->seq;
	lost->first = part_extent(entry).first;
	lost->count = entry->count;
	nvc_unit_forget(c, entry->unit, c->now);
	restore_sectors(c, entry);
	s->stats.lost_units++;
	if (!nvc_unit_mask(c, entry->unit))
		return;
	if (entry->old != SSD_NONE) {
		nvc_unit_place(c, entry->unit, entry->old);
		s->stats.mapped_units++;
		return;
	}
	entry->gone = true;
}

/*
 * Undoes the parts of a write, if any is not on the medium. Not if something
 * that stays was written over one: it may have taken in what that one left.
 * And not if the log no longer has all of it.
 */
static u32 undo_group(struct nvc *c, u32 back, u32 length, struct nvc_lost *lost)
{
	struct ssd *s = ssd_of(c);
	bool bare = undo_before(s, back + length - 1)->whole <= 1;
	u32 i;

	for (i = back; i < back + length; i++)
		bare &= current_unit(c, undo_before(s, i));
	if (!bare || !group_flies(c, back, length))
		return 0;
	for (i = 0; i < length; i++)
		undo(c, undo_before(s, back + i), &lost[i]);
	return length;
}

static u32 undo_all(struct nvc *c, struct nvc_lost *lost)
{
	struct ssd *s = ssd_of(c);
	u32 back = 1;
	u32 n = 0;

	while (back <= s->shape.undos) {
		u32 length = group_length(s, back);

		n += undo_group(c, back, length, lost + n);
		back += length;
	}
	return n;
}

/* Old content that was erased since is written anew. */
static void rewrite_gone(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	u32 i;

	for (i = 0; i < s->shape.undos; i++) {
		struct ssd_undo *entry = &s->a.undo[i];
		u32 unit = entry->unit;
		u32 home = entry->home;
		bool gone = entry->gone && s->a.l2p[unit] == SSD_NONE;

		memset(entry, 0, sizeof(*entry));
		if (!gone || !nvc_unit_mask(c, unit))
			continue;
		nvc_gc_room(c);
		nvc_gc_append(c, unit, home, s->time);
	}
}

/* Reading what was written since the lines in work were opened, all dies at once. */
static u64 scan_time(const struct nvc *c)
{
	const struct ssd *s = ssd_of(c);
	u32 pages = 0;
	u32 i;

	for (i = 0; i < SSD_STREAMS && !c->config.model.plp; i++)
		if (s->streams[i].line != SSD_NONE)
			pages += (s->streams[i].word / s->shape.lanes + 1) *
				 c->config.model.program_pages;
	return (u64)pages * s->sense[c->config.model.cell_bits - 1];
}

static void restart(struct nvc *c, u64 ready)
{
	struct ssd *s = ssd_of(c);
	u32 i;

	memset(&s->link_in, 0, sizeof(s->link_in));
	memset(&s->link_out, 0, sizeof(s->link_out));
	memset(s->a.channels, 0, c->config.model.channels * sizeof(struct ssd_timeline));
	for (i = 0; i < s->shape.dies; i++) {
		s->a.dies[i].busy = ready;
		s->a.dies[i].reads = ready;
		s->a.dies[i].background = ready;
	}
	for (i = 0; i < s->shape.slots; i++)
		if (s->a.slots[i].done != SSD_NEVER)
			s->a.slots[i].done = 0;
	for (i = 0; i < s->shape.lines; i++)
		s->a.lines[i].programmed = 0;
	s->durable = 0;
	s->gc.copied = 0;
	s->gc.seen = 0;
	s->gc.clock = 0;
	s->gc.pace = 0;
	s->time = ready;
}

/* Switched off in order, what collection had in hand is on the medium too. */
void nvc_ssd_wake(struct nvc *c)
{
	u32 i;

	nvc_mapping_save(c);
	for (i = 0; i < SSD_STREAMS; i++)
		if (!ssd_of_host(i))
			nvc_stream_pad(c, i);
	/* a line is no older, whatever clock there is now */
	ssd_of(c)->epoch += ssd_of(c)->time - c->now;
	ssd_of(c)->gc.due = 0;
	restart(c, c->now);
}

/**
 * nvc_ssd_cut() - what the power's going does to an SSD
 * @c: the device
 * @lost: as in nvc_cut()
 * @ready: as in nvc_cut()
 *
 * Return: entries of @lost.
 */
u32 nvc_ssd_cut(struct nvc *c, struct nvc_lost *lost, u64 *ready)
{
	struct ssd *s = ssd_of(c);
	u32 n;
	u32 i;

	*ready = c->now + c->config.model.recovery * SSD_MS + scan_time(c);
	nvc_gc_stop(c);
	n = undo_all(c, lost);
	restart(c, *ready);
	rewrite_gone(c);
	nvc_mapping_save(c);
	for (i = 0; i < SSD_STREAMS; i++)
		nvc_stream_pad(c, i);
	s->stats.power_cuts++;
	return n;
}
