// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The power goes from a zoned SSD. A zone keeps all up to its first word that
 * was not on the medium yet, and more if that was flushed: its write pointer
 * goes back there, and what is behind reads as zeros, as it did before it was
 * written. A zone that is full stays full. Zones that were open or closed are
 * closed then, or empty, as the standard has it (2.1.1.3).
 */
#include "zns.h"

/* Where a zone's first program that is under way begins, or @wp. Sectors. */
static u32 first_in_flight(const struct nvc *c, u32 z, u32 wp)
{
	const struct zns_shape *g = &zns_of(c)->shape;
	const struct ssd *s = ssd_of(c);
	u32 i;

	for (i = 0; zns_of(c)->zones[z].programmed > c->now && i < s->shape.slots; i++) {
		u32 at = s->a.slots[i].base - (g->base + z * g->units);

		if (at < g->units && s->a.slots[i].done > c->now)
			wp = nvc_min(wp, at * SSD_UNIT_SECTORS);
	}
	return wp;
}

/* How far a zone holds data that are kept. Sectors. */
u32 nvc_zone_kept(const struct nvc *c, u32 z)
{
	const struct zns *zns = zns_of(c);
	const struct zns_zone *zone = &zns->zones[z];
	u32 safe = zone->saving <= c->now ? zone->save : zone->saved;

	if (c->config.model.plp)
		return zone->wp;
	return nvc_max(safe, first_in_flight(c, z, zone->wp - zone_fill(zns, zone)));
}

/* The last word is gathered anew, out of what is kept. */
static void account(struct nvc *c, const struct zns_zone *zone, u32 to)
{
	const struct zns *zns = zns_of(c);
	struct nvc_ssd_stats *stats = &ssd_of(c)->stats;
	u32 open = zone_units(zone_fill(zns, zone));
	u32 start = zone->wp - zone_fill(zns, zone);

	stats->lost_units += zone_units(zone->wp) - zone_units(to);
	if (!zone_active(zone))
		return;
	if (to >= start) {
		stats->discarded_units += zone_units(zone->wp) - zone_units(to);
		return;
	}
	stats->discarded_units += open;
	stats->gc_units += zone_units(to % zns->shape.word);
}

static void roll_back(struct nvc *c, u32 z, u32 to)
{
	struct zns *zns = zns_of(c);
	struct zns_zone *zone = &zns->zones[z];
	struct nvc_extent gone = { zone_sector(zns, z) + to, zone->wp - to };

	if (to == zone->wp)
		return;
	account(c, zone, to);
	nvc_map_clear(&c->written, gone);
	nvc_map_clear(&c->bad, gone);
	zone->wp = to;
}

/* A random write area is kept, with what is in it; so is the state of a zone that has one. */
static void restart(struct nvc *c, u32 z)
{
	struct zns *zns = zns_of(c);
	struct zns_zone *zone = &zns->zones[z];

	zone->saved = zone->wp;
	zone->save = zone->wp;
	zone->saving = 0;
	zone->programmed = 0;
	zone->erased = 0;
	zone->ready = 0;
	if (zone_active(zone))
		nvc_zone_set(zns, z, zone->wp || zone->attributes ? NVC_ZONE_CLOSED :
								    NVC_ZONE_EMPTY);
}

/* Switched off in order all is on the medium; zones begin as after a cut. */
void nvc_zns_wake(struct nvc *c)
{
	u32 z;

	for (z = 0; z < zns_of(c)->shape.zones; z++)
		restart(c, z);
	nvc_ssd.wake(c);
}

/**
 * nvc_zns_cut() - what the power's going does to a zoned SSD
 * @c: the device
 * @lost: as in nvc_cut(); of zones nothing needs to be restored
 * @ready: as in nvc_cut()
 *
 * Return: entries of @lost.
 */
u32 nvc_zns_cut(struct nvc *c, struct nvc_lost *lost, u64 *ready)
{
	struct zns *zns = zns_of(c);
	u32 pages = c->config.model.plp ? 0 : zns->active;
	u32 z, n;

	for (z = 0; z < zns->shape.zones; z++) {
		roll_back(c, z, nvc_zone_kept(c, z));
		restart(c, z);
	}
	n = nvc_ssd.cut(c, lost, ready);
	/* the write pointer of each is looked for with a read, one after the other */
	*ready += (u64)pages * ssd_of(c)->sense[c->config.model.cell_bits - 1];
	return n;
}
