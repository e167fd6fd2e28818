// SPDX-License-Identifier: GPL-2.0-or-later
/* Zones that were read in and are not believed: see thaw.c. */
#include "snapshot.h"
#include "zns.h"

/* The state and what it goes with. */
static bool sound_state(const struct zns *zns, const struct zns_zone *zone)
{
	const struct zns_shape *g = &zns->shape;
	bool zrwa = zone->attributes & NVC_ZONE_HAS_ZRWA;

	switch (zone->state) {
	case NVC_ZONE_EMPTY:
		if (zone->wp || zone->attributes)
			return false;
		break;
	case NVC_ZONE_IMPLICIT:
	case NVC_ZONE_EXPLICIT:
	case NVC_ZONE_CLOSED:
		if (zone->wp >= g->capacity || zone->failed)
			return false;
		break;
	case NVC_ZONE_READ_ONLY:
	case NVC_ZONE_FULL:
	case NVC_ZONE_OFFLINE:
		break;
	default:
		return false;
	}
	return !zrwa || (zone_active(zone) && g->max_zrwas && !(zone->wp % g->flush));
}

static bool sound_numbers(const struct nvc *c, const struct zns_zone *zone)
{
	const struct zns_shape *g = &zns_of(c)->shape;
	u32 block = 1U << (c->ns[0].block_shift - NVC_MIN_BLOCK_SHIFT);
	u32 extended = g->extension ? NVC_ZONE_EXTENDED : 0;

	return nvc_sound(zone->erased) && nvc_sound(zone->programmed) &&
	       nvc_sound(zone->saving) && nvc_sound(zone->ready) &&
	       zone->wp <= g->capacity && !(zone->wp % block) && zone->saved <= zone->wp &&
	       zone->save <= zone->wp && zone->words <= g->words && !(zone->erases >> 31) &&
	       zone->changed <= 1 && zone->failed <= 1 &&
	       !(zone->attributes & ~(NVC_ZONE_HAS_ZRWA | extended));
}

/* Of a zone that can still be written what is behind the pointer reads as zeros. */
static bool sound_content(const struct nvc *c, u32 z)
{
	const struct zns *zns = zns_of(c);
	const struct zns_zone *zone = &zns->zones[z];
	u32 end = zone->wp + (zone->attributes & NVC_ZONE_HAS_ZRWA ? zns->shape.zrwa : 0);
	u32 size = 1U << zns->shape.shift;
	struct nvc_extent behind = { zone_sector(zns, z) + end, size - nvc_min(end, size) };

	if (zone->state >= NVC_ZONE_READ_ONLY || !behind.count)
		return true;
	return !nvc_map_all(&c->written, behind);
}

/* Counts zones as they are, and looks at each. */
static bool thaw_zones(struct nvc *c, u32 *changed)
{
	struct zns *zns = zns_of(c);
	u32 z;

	zns->active = 0;
	zns->opened = 0;
	zns->implicit = 0;
	zns->zrwas = 0;
	for (z = 0; z < zns->shape.zones; z++) {
		const struct zns_zone *zone = &zns->zones[z];

		if (!sound_numbers(c, zone) || !sound_state(zns, zone) || !sound_content(c, z))
			return false;
		zns->active += zone_active(zone);
		zns->opened += zone_open(zone);
		zns->implicit += zone->state == NVC_ZONE_IMPLICIT;
		zns->zrwas += !!(zone->attributes & NVC_ZONE_HAS_ZRWA);
		*changed += zone->changed;
	}
	return zns->active <= zns->shape.max_active && zns->opened <= zns->shape.max_open &&
	       zns->zrwas <= zns->shape.max_zrwas;
}

/* The active zones are in one ring. */
static bool sound_ring(const struct zns *zns)
{
	u32 z = zns->head;
	u32 n = 0;

	if (z == SSD_NONE)
		return !zns->active;
	do {
		u32 next;

		if (z >= zns->shape.zones || n++ == zns->active || !zone_active(&zns->zones[z]))
			return false;
		next = zns->zones[z].next;
		if (next >= zns->shape.zones || zns->zones[next].prev != z)
			return false;
		z = next;
	} while (z != zns->head);
	return n == zns->active;
}

static bool sound_changes(const struct zns *zns, u32 changed)
{
	u32 i;

	for (i = 0; i < nvc_min(zns->changes, NVC_ZONE_CHANGES); i++)
		if (zns->changed[i] >= zns->shape.zones || !zns->zones[zns->changed[i]].changed)
			return false;
	return zns->changes == changed;
}

/* Namespace 1 has the zones, 2 has what there is beside them, and that is all. */
static bool sound_namespaces(const struct nvc *c)
{
	const struct zns_shape *g = &zns_of(c)->shape;
	u64 conventional = nvc_zns_conventional(&c->config);
	u32 i;

	if (!(c->ns[0].flags & NVC_NS_ZONED) || !c->ns[0].blocks ||
	    c->ns[0].start != g->start << NVC_MIN_BLOCK_SHIFT ||
	    c->ns[0].bytes != (u64)g->zones << g->shift << NVC_MIN_BLOCK_SHIFT)
		return false;
	for (i = 1; i < NVC_MAX_NS; i++)
		if (c->ns[i].flags & NVC_NS_ZONED || (i > 1 && c->ns[i].blocks))
			return false;
	return !conventional == !c->ns[1].blocks &&
	       (!conventional || (!c->ns[1].start && c->ns[1].bytes == conventional));
}

/* Units of words that are not full yet. */
u64 nvc_zns_open_units(const struct nvc *c)
{
	const struct zns *zns = zns_of(c);
	u64 units = 0;
	u32 z;

	for (z = 0; z < zns->shape.zones; z++)
		units += zone_units(zone_fill(zns, &zns->zones[z]));
	return units;
}

/**
 * nvc_zns_thaw() - look at a zoned SSD that was read in
 * @c: the device
 *
 * Return: whether there can be such an SSD.
 */
bool nvc_zns_thaw(struct nvc *c)
{
	struct zns *zns = zns_of(c);
	u32 changed = 0;

	return sound_namespaces(c) && thaw_zones(c, &changed) && sound_ring(zns) &&
	       sound_changes(zns, changed) && nvc_ssd_thaw(c);
}
