// SPDX-License-Identifier: GPL-2.0-or-later
/* Reading from zones. */
#include "zns.h"

/* Whether a word of a zone is still in the controller's memory. */
static bool buffered(const struct nvc *c, u32 z, u32 word)
{
	const struct zns *zns = zns_of(c);
	const struct zns_zone *zone = &zns->zones[z];
	u32 place = zns->shape.base + z * zns->shape.units + word * ssd_of(c)->shape.per_program;

	if (zone_fill(zns, zone) && word == zone->wp / zns->shape.word)
		return true;
	return zone->programmed > c->now && nvc_buffer_finds(c, place);
}

/* Sectors of one page, from @offset on in the zone. Returns when they have left the medium. */
static u64 read_page(struct nvc *c, u32 z, u32 offset, u32 count, u64 ready)
{
	const struct zns_shape *g = &zns_of(c)->shape;
	const struct zns_zone *zone = &zns_of(c)->zones[z];
	struct ssd *s = ssd_of(c);
	u32 word = offset / g->word;
	u32 units = zone_units(offset % SSD_UNIT_SECTORS + count);
	u32 page;

	if (offset >= zone->wp)
		return ready;
	if (buffered(c, z, word)) {
		s->stats.buffer_hits += units;
		return ready;
	}
	page = offset % g->word / SSD_UNIT_SECTORS / s->shape.per_page;
	return nvc_die_read(c, nvc_zone_die(zns_of(c), z, word), nvc_zone_page(c, word) + page,
			    units, ready);
}

/**
 * nvc_zone_read() - read sectors of a zoned namespace
 * @c: the device
 * @at: which
 * @link: to the host, or NULL if they stay inside
 *
 * Return: ns, when they are where they should go.
 */
u64 nvc_zone_read(struct nvc *c, struct nvc_extent at, struct ssd_timeline *link)
{
	const struct nvc_model *m = &c->config.model;
	struct zns *zns = zns_of(c);
	u32 page = ssd_of(c)->shape.per_page * SSD_UNIT_SECTORS;
	u64 ready = c->now + (at.count > SSD_UNIT_SECTORS ? m->fw_read_large : m->fw_read);
	u64 end = ready;

	while (at.count) {
		u32 offset = zone_offset(zns, at.first);
		u32 n = nvc_min(nvc_min(page - offset % page, at.count),
				(1U << zns->shape.shift) - offset);
		u64 there = read_page(c, zone_index(zns, at.first), offset, n, ready);
		u64 time = ssd_link_time(ssd_of(c), (u64)n << NVC_MIN_BLOCK_SHIFT);

		end = nvc_max(end, link ? ssd_book(link, c->now, there, time) : there);
		at.first += n;
		at.count -= n;
	}
	return end;
}
