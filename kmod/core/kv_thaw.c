// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Keys and values that were read in and are not believed: see thaw.c. That each
 * unit is in one chain shows by what reads as data: it is taken from a unit when
 * its chain comes by, and given back when all have.
 */
#include "kv.h"
#include "snapshot.h"

#define WHOLE ((1U << SSD_UNIT_SECTORS) - 1)

static bool sound_numbers(const struct kv *kv)
{
	const struct kv_shape *g = &kv->shape;

	return kv->keys <= g->max_keys && kv->fresh <= g->units && kv->free <= kv->fresh &&
	       kv->logged <= g->log && (kv->log_at < g->log || !kv->log_at) &&
	       (kv->free || kv->free_head == SSD_NONE);
}

static bool sound_key(const struct kv_slot *slot)
{
	const u64 *word = slot->word;
	u32 length = slot->length;

	if (!length || length > NVC_KV_MAX_KEY)
		return false;
	if (length <= 8)
		return !word[1] && (length == 8 || !(word[0] >> 8 * length));
	return length == NVC_KV_MAX_KEY || !(word[1] >> 8 * (length - 8));
}

static bool sound_value(const struct nvc *c, const struct kv_slot *value)
{
	return value->size <= kv_of(c)->shape.max_value && value->seq <= c->seq &&
	       (!value->size == (value->head == SSD_NONE));
}

/* Takes the units of a value, which are nobody else's. */
static bool claim(struct nvc *c, const struct kv_slot *value, u64 *claimed)
{
	const struct kv *kv = kv_of(c);
	u32 units = kv_units(value->size);
	u32 unit = value->head;

	*claimed += units;
	for (; units; units--) {
		if (unit >= kv->fresh || nvc_unit_mask(c, unit) != WHOLE)
			return false;
		nvc_map_clear(&c->written, kv_extent(unit, 1));
		unit = kv->next[unit];
	}
	return unit == SSD_NONE;
}

/* Keys are in order, within reach, and as many as there are said to be. */
static bool thaw_index(struct nvc *c, u64 *claimed)
{
	struct kv *kv = kv_of(c);
	const struct kv_slot *last = NULL;
	u32 end = kv->shape.slots;
	u32 keys = 0;
	u32 at;

	kv->live = 0;
	kv->bytes = 0;
	for (at = nvc_kv_following(kv, 0); at < end; at = nvc_kv_following(kv, at + 1)) {
		const struct kv_slot *slot = &kv->slots[at];
		u64 home;

		if (!sound_key(slot) || !sound_value(c, slot))
			return false;
		home = nvc_kv_home(c, slot);
		if (at < home || at > home + KV_REACH || (last && !nvc_kv_before(c, last, slot)))
			return false;
		/* nothing is empty between a key and its home */
		if (at > home && (!last || last != slot - 1))
			return false;
		if (!claim(c, slot, claimed))
			return false;
		nvc_kv_account(kv, slot, true);
		last = slot;
		keys++;
	}
	return keys == kv->keys;
}

static bool sound_log(struct nvc *c, u64 *claimed)
{
	const struct kv *kv = kv_of(c);
	u64 seq = 0;
	u32 i;

	for (i = 0; i < kv->logged; i++) {
		const struct kv_undo *entry = kv_logged(kv, i);

		if (entry->seq <= seq || entry->seq > c->seq || entry->had > 1 ||
		    !nvc_sound(entry->first) || !nvc_sound(entry->last) ||
		    !sound_key(&entry->old) || !sound_value(c, &entry->old))
			return false;
		if (entry->had && !claim(c, &entry->old, claimed))
			return false;
		seq = entry->seq;
	}
	return true;
}

/* Free units hold nothing, and are as many as there are said to be. */
static bool sound_free(const struct nvc *c)
{
	const struct kv *kv = kv_of(c);
	u32 unit = kv->free_head;
	u32 n;

	for (n = 0; n < kv->free; n++) {
		if (unit >= kv->fresh || nvc_unit_mask(c, unit))
			return false;
		unit = kv->next[unit];
	}
	return unit == SSD_NONE;
}

static void give_back(struct nvc *c, const struct kv_slot *value)
{
	u32 unit;

	for (unit = value->head; unit != SSD_NONE; unit = kv_of(c)->next[unit])
		nvc_map_set(&c->written, kv_extent(unit, 1));
}

static void give_all_back(struct nvc *c)
{
	const struct kv *kv = kv_of(c);
	u32 i;

	for (i = nvc_kv_following(kv, 0); i < kv->shape.slots; i = nvc_kv_following(kv, i + 1))
		give_back(c, &kv->slots[i]);
	for (i = 0; i < kv->logged; i++)
		if (kv_logged(kv, i)->had)
			give_back(c, &kv_logged(kv, i)->old);
}

/* Every unit that was ever used is free or in one chain, and nothing else reads as data. */
static bool thaw_chains(struct nvc *c)
{
	const struct kv *kv = kv_of(c);
	struct nvc_extent all = { 0, c->capacity >> NVC_MIN_BLOCK_SHIFT };
	u64 claimed = 0;

	if (!sound_free(c) || !thaw_index(c, &claimed) || !sound_log(c, &claimed))
		return false;
	if (claimed + kv->free != kv->fresh || nvc_map_all(&c->written, all))
		return false;
	give_all_back(c);
	return true;
}

static bool sound_namespaces(const struct nvc *c)
{
	u32 i;

	for (i = 1; i < NVC_MAX_NS; i++)
		if (c->ns[i].blocks)
			return false;
	return c->ns[0].blocks && c->ns[0].flags & NVC_NS_KEYS && !c->ns[0].start &&
	       c->ns[0].bytes == c->capacity;
}

/**
 * nvc_kv_thaw() - look at a key value SSD that was read in
 * @c: the device
 *
 * Return: whether there can be such an SSD.
 */
bool nvc_kv_thaw(struct nvc *c)
{
	return sound_namespaces(c) && sound_numbers(kv_of(c)) && thaw_chains(c) &&
	       nvc_ssd_thaw(c);
}
