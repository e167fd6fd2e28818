// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The write buffer: a ring of places for one program each, and the log of what
 * a power cut would undo. Whatever left the ring is on the medium.
 */
#include "ssd.h"

/**
 * nvc_buffer_slot() - have a place for a program
 * @s: the SSD
 * @base: first physical unit of it
 * @at: ns, when the data come; when there is a place for them
 *
 * Return: which.
 */
u32 nvc_buffer_slot(struct ssd *s, u32 base, u64 *at)
{
	struct ssd_slot *slot;
	u32 i;

	do {
		i = s->slot;
		s->slot = i + 1 < s->shape.slots ? i + 1 : 0;
		slot = &s->a.slots[i];
	} while (slot->done == SSD_NEVER);
	*at = nvc_max(*at, slot->done);
	slot->word = s->words++;
	slot->done = SSD_NEVER;
	slot->base = base;
	return i;
}

/**
 * nvc_buffer_take() - have a place for the next word of a stream
 * @s: the SSD
 * @id: enum ssd_stream_id, of the host
 * @base: first physical unit of the word
 * @at: ns, when the data come
 *
 * Return: ns, when there is a place for them.
 */
u64 nvc_buffer_take(struct ssd *s, u32 id, u32 base, u64 at)
{
	s->streams[id].slot = nvc_buffer_slot(s, base, &at);
	return at;
}

/* The program of a place is done at @done. */
void nvc_buffer_done(struct ssd *s, u32 slot, u64 done)
{
	s->a.slots[slot].done = done;
	s->durable = nvc_max(s->durable, done);
	s->latest = nvc_max(s->latest, done);
}

/* Whether the unit at @place belongs to a program that is not done yet. */
bool nvc_buffer_finds(const struct nvc *c, u32 place)
{
	const struct ssd *s = ssd_of(c);
	u32 i;

	for (i = 0; i < s->shape.slots; i++)
		if (place - s->a.slots[i].base < s->shape.per_program &&
		    s->a.slots[i].done > c->now)
			return true;
	return false;
}

/* Logs a unit written. */
void nvc_undo_log(struct ssd *s, const struct ssd_undo *entry)
{
	if (!s->shape.undos)
		return;
	s->a.undo[s->undo_at] = *entry;
	s->undo_at = s->undo_at + 1 < s->shape.undos ? s->undo_at + 1 : 0;
}

/*
 * @line is erased. What was written there has been moved since, and counts as
 * written for good; to bring back old content from there takes a new copy.
 */
void nvc_undo_erased(struct ssd *s, u32 line)
{
	u32 from = line * s->shape.per_line;
	u32 i;

	for (i = 0; i < s->shape.undos; i++) {
		struct ssd_undo *entry = &s->a.undo[i];

		if (entry->place - from < s->shape.per_line)
			entry->place = SSD_NONE;
		if (entry->old - from < s->shape.per_line)
			entry->old = SSD_NONE;
	}
}

/* What was to be at @from is at @to instead, or nowhere. */
void nvc_undo_moved(struct ssd *s, u32 from, u32 to)
{
	u32 i;

	for (i = 0; i < s->shape.undos; i++) {
		if (s->a.undo[i].place == from)
			s->a.undo[i].place = to;
		if (s->a.undo[i].old == from)
			s->a.undo[i].old = to;
	}
}
