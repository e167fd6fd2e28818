// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The units of values, and what becomes of them when the power goes.
 *
 * A Store of which a program was not done is undone, newest first: its key has
 * the old value again, or none. Not if its key was stored or deleted since by
 * something that stays, nor if the log or the free units did not suffice to keep
 * the old value so long. A Delete is kept as soon as it is done.
 */
#include "kv.h"

/* A value comes to be, or is no more. */
void nvc_kv_account(struct kv *kv, const struct kv_slot *value, bool more)
{
	kv->live += more ? kv_units(value->size) : -kv_units(value->size);
	kv->bytes += more ? value->size : -(u64)value->size;
}

/* A chain of free units, of which there are enough. Returns the first. */
u32 nvc_kv_take(struct nvc *c, u32 units)
{
	struct kv *kv = kv_of(c);
	u32 head = SSD_NONE;
	u32 *end = &head;

	while (units--) {
		u32 unit = kv->free_head;

		if (kv->free) {
			kv->free--;
			kv->free_head = kv->next[unit];
		} else {
			unit = kv->fresh++;
		}
		/* a format may have left something of before */
		nvc_unit_unmap(c, unit);
		*end = unit;
		end = &kv->next[unit];
	}
	*end = SSD_NONE;
	return head;
}

/* The units of a value that nobody wants any more. */
void nvc_kv_free(struct nvc *c, const struct kv_slot *value)
{
	struct kv *kv = kv_of(c);
	u32 unit = value->head;

	while (unit != SSD_NONE) {
		u32 next = kv->next[unit];

		nvc_unit_unmap(c, unit);
		nvc_map_clear(&c->written, kv_extent(unit, 1));
		kv->next[unit] = kv->free_head;
		kv->free_head = unit;
		kv->free++;
		unit = next;
	}
}

/* Whether a program of the Store is not done yet. What left the buffer is. */
static bool in_flight(const struct nvc *c, const struct kv_undo *entry)
{
	const struct ssd *s = ssd_of(c);
	u32 i;

	for (i = 0; i < s->shape.slots; i++)
		if (s->a.slots[i].word >= entry->first && s->a.slots[i].word <= entry->last &&
		    s->a.slots[i].done > c->now)
			return true;
	return false;
}

/* Keeps the oldest Store of the log for good. */
static void give_up(struct nvc *c)
{
	struct kv *kv = kv_of(c);
	const struct kv_undo *oldest = kv_logged(kv, 0);

	if (oldest->had)
		nvc_kv_free(c, &oldest->old);
	kv->log_at = kv->log_at + 1 < kv->shape.log ? kv->log_at + 1 : 0;
	kv->logged--;
}

/* A Store was carried out; it is in the log until it is on the medium. */
void nvc_kv_replaced(struct nvc *c, const struct kv_undo *entry)
{
	struct kv *kv = kv_of(c);

	if (!kv->shape.log || entry->first > entry->last) {
		if (entry->had)
			nvc_kv_free(c, &entry->old);
		return;
	}
	if (kv->logged == kv->shape.log)
		give_up(c);
	*kv_logged(kv, kv->logged) = *entry;
	kv->logged++;
}

/* What is on the medium by now needs no entry. */
void nvc_kv_retire(struct nvc *c)
{
	while (kv_of(c)->logged && !in_flight(c, kv_logged(kv_of(c), 0)))
		give_up(c);
}

/* Makes sure of free units, of which there are enough with those that the log keeps. */
void nvc_kv_room(struct nvc *c, u32 units)
{
	struct kv *kv = kv_of(c);

	while (kv->logged && kv->free + (kv->shape.units - kv->fresh) < units)
		give_up(c);
}

/* The key has again what it had. */
static void undo(struct nvc *c, struct kv_slot *slot, const struct kv_undo *entry)
{
	struct kv *kv = kv_of(c);

	ssd_of(c)->stats.lost_units += kv_units(slot->size);
	nvc_kv_account(kv, slot, false);
	nvc_kv_free(c, slot);
	if (!entry->had) {
		nvc_kv_remove(c, slot);
		return;
	}
	*slot = entry->old;
	nvc_kv_account(kv, slot, true);
}

static void undo_newest(struct nvc *c)
{
	struct kv *kv = kv_of(c);
	const struct kv_undo *entry = kv_logged(kv, --kv->logged);
	struct kv_key key = {
		.word = { entry->old.word[0], entry->old.word[1] }, .length = entry->old.length,
	};
	struct kv_slot *slot = nvc_kv_find(c, &key);

	if (slot && slot->seq == entry->seq && in_flight(c, entry))
		undo(c, slot, entry);
	else if (entry->had)
		nvc_kv_free(c, &entry->old);
}

/**
 * nvc_kv_cut() - what the power's going does to a key value SSD
 * @c: the device
 * @lost: as in nvc_cut(); nothing needs to be restored, as old values lie elsewhere
 * @ready: as in nvc_cut()
 *
 * Return: entries of @lost.
 */
u32 nvc_kv_cut(struct nvc *c, struct nvc_lost *lost, u64 *ready)
{
	while (kv_of(c)->logged)
		undo_newest(c);
	return nvc_ssd.cut(c, lost, ready);
}

/* Switched off in order all is on the medium. */
void nvc_kv_wake(struct nvc *c)
{
	while (kv_of(c)->logged)
		give_up(c);
	nvc_ssd.wake(c);
}
