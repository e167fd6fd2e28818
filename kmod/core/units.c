// SPDX-License-Identifier: GPL-2.0-or-later
/* Where every logical unit lies, and which physical ones are current. */
#include "ssd.h"

/* Brings a closed line into the list it belongs to now. */
static void sort_line(struct nvc *c, u32 line)
{
	struct ssd *s = ssd_of(c);
	u32 key = nvc_line_key(c, line);

	if (!ssd_in_list(s, line) || key == s->a.lines[line].key)
		return;
	nvc_line_take(s, line);
	nvc_line_put(s, line, key);
}

/* What lies at @place is no longer current. */
void nvc_unit_drop(struct nvc *c, u32 place)
{
	struct ssd *s = ssd_of(c);
	u32 line = ssd_line_of(s, place);
	u32 at = place - line * s->shape.per_line;

	ssd_valid_map(s, line)[at / 64] &= ~(1ULL << (at % 64));
	s->a.lines[line].valid--;
	sort_line(c, line);
}

/* @unit lies at @place from here on. */
void nvc_unit_place(struct nvc *c, u32 unit, u32 place)
{
	struct ssd *s = ssd_of(c);
	u32 line = ssd_line_of(s, place);
	u32 at = place - line * s->shape.per_line;

	ssd_valid_map(s, line)[at / 64] |= 1ULL << (at % 64);
	s->a.p2l[place] = unit;
	s->a.l2p[unit] = place;
	s->a.lines[line].valid++;
	sort_line(c, line);
}

/* @unit lies nowhere. */
void nvc_unit_unmap(struct nvc *c, u32 unit)
{
	struct ssd *s = ssd_of(c);
	u32 place = s->a.l2p[unit];

	if (place == SSD_NONE)
		return;
	nvc_unit_drop(c, place);
	s->a.l2p[unit] = SSD_NONE;
	s->stats.mapped_units--;
}

/* The same of what hosts wrote, which the map is told of at @ready. */
void nvc_unit_forget(struct nvc *c, u32 unit, u64 ready)
{
	nvc_unit_unmap(c, unit);
	nvc_mapping_change(c, unit, ready);
}

/*
 * There is no free line for @unit. A drive comes never so far (see gc.c) but by
 * a snapshot that was made up; it is at its end then.
 */
void nvc_unit_lose(struct nvc *c, u32 unit)
{
	nvc_unit_unmap(c, unit);
	ssd_of(c)->stats.read_only = 1;
}

/*
 * Sectors are deallocated. What lies in them comes free later, a little with
 * each command, so that one that covers the drive takes no longer than others.
 * Till then only what is marked as written tells.
 */
void nvc_sweep_add(struct nvc *c, struct nvc_extent at)
{
	struct ssd *s = ssd_of(c);
	u32 from = at.first / SSD_UNIT_SECTORS;
	u32 to = (at.first + at.count - 1) / SSD_UNIT_SECTORS + 1;

	if (!at.count)
		return;
	if (s->sweep_from == s->sweep_to) {
		s->sweep_from = from;
		s->sweep_to = to;
	}
	s->sweep_from = nvc_min(s->sweep_from, from);
	s->sweep_to = nvc_max(s->sweep_to, to);
}

/* Looks at up to @budget units of what was deallocated. */
void nvc_sweep(struct nvc *c, u32 budget)
{
	struct ssd *s = ssd_of(c);

	for (; budget && s->sweep_from < s->sweep_to; budget--) {
		u32 unit = s->sweep_from++;

		if (s->a.l2p[unit] != SSD_NONE && !nvc_unit_mask(c, unit))
			nvc_unit_forget(c, unit, c->now);
	}
}
