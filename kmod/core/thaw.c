// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * State that was read in and is not believed: whether a device can be so, and
 * what follows from it. Whatever passes here is as safe to use as what the core
 * has made itself: each index is inside, each list a ring of what belongs in it,
 * each unit in one place, each time and number small enough to be added to.
 */
#include "snapshot.h"
#include "zns.h"

static bool sound_rules(const struct nvc_rules *rules)
{
	u32 i;

	for (i = 0; i < NVC_MAX_RULES; i++)
		if (rules->set >> i & 1 && nvc_check_rule(&rules->slots[i].rule))
			return false;
	return true;
}

/* What every kind has. A bool is looked at as a byte: it could be neither. */
bool nvc_thaw_any(struct nvc *c)
{
	c->capacity = c->config.blocks << c->config.block_shift;
	return *(const u8 *)&c->read_only <= 1 && (!c->cache || c->config.vwc) &&
	       nvc_sound(c->now) && nvc_sound(c->busy_until) && nvc_sound(c->seq) &&
	       sound_rules(&c->rules) && nvc_ns_sound(c);
}

static bool sound_collection(const struct ssd *s)
{
	const struct ssd_gc *gc = &s->gc;

	return nvc_sound(gc->clock) && nvc_sound(gc->pace) && nvc_sound(gc->copied) &&
	       nvc_sound(gc->seen) &&
	       (gc->wear_next < s->shape.lines || !gc->wear_next) &&
	       (gc->wear < s->shape.lines || gc->wear == SSD_NONE);
}

static bool sound_numbers(const struct ssd *s)
{
	return nvc_sound(s->time) && nvc_sound(s->time + s->epoch) &&
	       nvc_sound(s->durable) && nvc_sound(s->latest) &&
	       nvc_sound(s->closings) && nvc_sound(s->words) && s->began <= s->closings &&
	       s->stats.read_only <= 1 && s->slot < s->shape.slots &&
	       (s->undo_at < s->shape.undos || !s->undo_at) &&
	       s->sweep_from <= s->sweep_to && s->sweep_to <= s->shape.units &&
	       sound_collection(s);
}

/* Gaps one after the other, and all before the end. */
static bool sound_timeline(const struct ssd_timeline *t)
{
	u64 after = 0;
	u32 i;

	if (!nvc_sound(t->end) || t->last > t->end || t->gaps > SSD_GAPS)
		return false;
	for (i = 0; i < t->gaps; i++) {
		const struct ssd_gap *gap = &t->gap[(t->first + i) % SSD_GAPS];

		if (gap->from < after || gap->to < gap->from || gap->to > t->last)
			return false;
		after = gap->to;
	}
	return true;
}

static bool sound_times(const struct nvc *c)
{
	const struct ssd *s = ssd_of(c);
	u32 channels = c->config.model.channels;
	u32 i;

	for (i = 0; i < s->shape.dies; i++) {
		struct ssd_die *die = &s->a.dies[i];

		if (!nvc_sound(die->busy) || !nvc_sound(die->reads) ||
		    !nvc_sound(die->background))
			return false;
		die->channel = i % channels;
	}
	for (i = 0; i < channels; i++)
		if (!sound_timeline(&s->a.channels[i]))
			return false;
	return sound_timeline(&s->link_in) && sound_timeline(&s->link_out);
}

static u32 good_blocks(const struct ssd *s, u32 line)
{
	u32 good = 0;
	u32 lane;

	for (lane = 0; lane < s->shape.lanes; lane++)
		good += !ssd_bad(s, line, lane);
	return good;
}

/* Lines for themselves, and what their blocks add up to. None holds anything yet. */
static bool thaw_lines(struct ssd *s)
{
	struct nvc_ssd_stats *t = &s->stats;
	u32 i;

	t->usable_units = 0;
	t->bad_blocks = 0;
	t->retired_lines = 0;
	t->most_erases = 0;
	for (i = 0; i < s->shape.lines; i++) {
		struct ssd_line *line = &s->a.lines[i];

		line->good = good_blocks(s, i);
		line->valid = 0;
		if (line->state > SSD_RETIRED || line->erases >> 31 || line->closed > s->closings ||
		    !nvc_sound(line->opened) ||
		    line->stream >= SSD_STREAMS || !nvc_sound(line->programmed))
			return false;
		if ((line->state == SSD_FREE && !nvc_line_room(s, i)) ||
		    (line->state == SSD_RETIRED && nvc_line_room(s, i)))
			return false;
		t->usable_units += nvc_line_room(s, i);
		t->bad_blocks += s->shape.lanes - line->good;
		t->retired_lines += line->state == SSD_RETIRED;
		t->most_erases = nvc_max(t->most_erases, line->erases);
	}
	return true;
}

static bool holds_data(const struct ssd *s, u32 place)
{
	u32 state;

	if (place >= s->shape.lines * s->shape.per_line)
		return false;
	state = s->a.lines[ssd_line_of(s, place)].state;
	return state == SSD_OPEN || state == SSD_CLOSED;
}

static u64 *valid_word(const struct ssd *s, u32 place)
{
	u32 line = ssd_line_of(s, place);

	return ssd_valid_map(s, line) + (place - line * s->shape.per_line) / 64;
}

static u64 valid_bit(const struct ssd *s, u32 place)
{
	return 1ULL << (place % s->shape.per_line % 64);
}

/* Takes a place for a unit, or a page of the map. False if it cannot be there, or was taken. */
static bool claim(struct ssd *s, u32 place, bool map)
{
	bool of_map;

	if (!holds_data(s, place) || *valid_word(s, place) & valid_bit(s, place))
		return false;
	of_map = s->a.lines[ssd_line_of(s, place)].stream == SSD_MAP;
	if (of_map != map)
		return false;
	*valid_word(s, place) |= valid_bit(s, place);
	return true;
}

/* What lies somewhere reads as data, unless it is about to be swept; and the other way round. */
static bool sound_unit(const struct nvc *c, u32 unit)
{
	const struct ssd *s = ssd_of(c);

	if (unit >= s->shape.units)
		return true;
	if (s->a.l2p[unit] == SSD_NONE)
		return !nvc_unit_mask(c, unit) || s->stats.read_only;
	return nvc_unit_mask(c, unit) || (unit >= s->sweep_from && unit < s->sweep_to);
}

/* Every unit is in one place, where no other is. */
static bool thaw_units(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	u32 unit;

	memset(s->a.valid, 0, (size_t)s->shape.lines * s->shape.map_words * sizeof(u64));
	s->stats.mapped_units = 0;
	for (unit = 0; unit < ssd_all_units(&s->shape); unit++) {
		u32 place = s->a.l2p[unit];

		if (!sound_unit(c, unit))
			return false;
		if (place == SSD_NONE)
			continue;
		if (!claim(s, place, unit >= s->shape.units))
			return false;
		s->a.p2l[place] = unit;
		s->a.lines[ssd_line_of(s, place)].valid++;
		s->stats.mapped_units++;
	}
	return true;
}

static bool sound_victim(const struct ssd *s)
{
	u32 line = s->gc.victim;

	if (line == SSD_NONE)
		return true;
	return line < s->shape.lines && s->a.lines[line].state == SSD_CLOSED &&
	       s->a.lines[line].stream != SSD_MAP &&
	       s->gc.word < s->shape.words &&
	       nvc_line_bare(s, line, 0, s->gc.word * s->shape.per_program);
}

/* What is on a line was written by a stream that there is. */
static bool sound_owners(const struct nvc *c)
{
	const struct ssd *s = ssd_of(c);
	u32 i;

	for (i = 0; i < s->shape.lines; i++)
		if (s->a.lines[i].state == SSD_CLOSED && !nvc_stream_used(c, s->a.lines[i].stream))
			return false;
	return true;
}

/* Free lines are in a ring, closed ones in that of what they are worth. */
static bool belongs(const struct nvc *c, u32 line, bool closed, u32 key)
{
	const struct ssd *s = ssd_of(c);
	const struct ssd_line *l = &s->a.lines[line];

	if (l->next >= s->shape.lines || s->a.lines[l->next].prev != line)
		return false;
	if (!closed)
		return l->state == SSD_FREE;
	return ssd_in_list(s, line) && l->key == key && nvc_line_key(c, line) == key;
}

/* Lines of a ring; more than there are if one does not belong there, or it is none. */
static u32 ring_length(const struct nvc *c, u32 first, bool closed, u32 key)
{
	const struct ssd *s = ssd_of(c);
	u32 line = first;
	u32 n = 0;

	if (first == SSD_NONE)
		return 0;
	do {
		if (line >= s->shape.lines || n++ == s->shape.lines ||
		    !belongs(c, line, closed, key))
			return SSD_NONE;
		line = s->a.lines[line].next;
	} while (line != first);
	return n;
}

/* Every free line is in one ring, every closed one but the victim in that of its key. */
static bool thaw_lists(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	u64 closed = 0;
	u64 listed = 0;
	u32 free = 0;
	u32 i;

	for (i = 0; i < s->shape.lines; i++) {
		free += s->a.lines[i].state == SSD_FREE;
		closed += ssd_in_list(s, i);
	}
	for (i = 0; i <= s->shape.per_line; i++)
		listed += ring_length(c, s->a.heads[i], true, i);
	nvc_line_plant(s);
	s->free_lines = free;
	return listed == closed && ring_length(c, s->free_head, false, 0) == free;
}

static bool sound_undo(const struct nvc *c, const struct ssd_undo *entry)
{
	const struct ssd *s = ssd_of(c);

	if (entry->gone || !entry->seq)
		return !entry->gone;
	return entry->unit < s->shape.units && entry->slot < s->shape.slots && entry->count &&
	       !ssd_of_host(entry->home) && entry->home != SSD_MAP && entry->home < SSD_STREAMS &&
	       nvc_stream_used(c, entry->home) &&
	       entry->first + entry->count <= SSD_UNIT_SECTORS;
}

/* Takes the places that a cut brings content back to, or frees them. False if one is not free. */
static bool claim_old(struct ssd *s, u32 entries, bool free)
{
	u32 i;

	for (i = 0; i < entries; i++) {
		u32 old = s->a.undo[i].old;

		if (!s->a.undo[i].seq || old == SSD_NONE)
			continue;
		if (free)
			*valid_word(s, old) &= ~valid_bit(s, old);
		else if (!claim(s, old, false))
			return false;
	}
	return true;
}

/*
 * What a cut brings back lies where nothing is, in a place of its own, and not
 * where something is yet to be written. Places of a device that is refused
 * stay taken: it is made anew.
 */
static bool sound_log(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	u32 n = s->shape.undos;
	u32 i;

	for (i = 0; i < n; i++)
		if (!sound_undo(c, &s->a.undo[i]))
			return false;
	return claim_old(s, n, false) && nvc_streams_sound(c) && claim_old(s, n, true);
}

/* Every unit programmed is somebody's. */
static bool sound_accounts(const struct nvc *c)
{
	const struct ssd *s = ssd_of(c);
	const struct nvc_ssd_stats *t = &s->stats;
	u64 taken = t->programs * s->shape.per_program + t->discarded_units;
	u32 i;

	for (i = 0; i < SSD_STREAMS; i++)
		taken += s->streams[i].fill;
	if (c->config.kind == NVC_ZNS)
		taken += nvc_zns_open_units(c);
	return taken == t->host_units + t->gc_units + t->pad_units + t->map_units;
}

/**
 * nvc_ssd_thaw() - look at an SSD that was read in
 * @c: the device
 *
 * Return: whether there can be such an SSD.
 */
bool nvc_ssd_thaw(struct nvc *c)
{
	struct ssd *s = ssd_of(c);

	if (!sound_numbers(s) || !sound_times(c) || !thaw_lines(s) || !thaw_units(c) ||
	    !sound_log(c) || !sound_victim(s) || !sound_owners(c) || !thaw_lists(c) ||
	    !sound_accounts(c) || !nvc_place_sound(c) || !nvc_mapping_thaw(c))
		return false;
	nvc_line_reserves(s);
	/* nvc_stats() adds to these */
	s->stats.open_units = 0;
	s->stats.open_lines = 0;
	s->stats.closed_lines = 0;
	return true;
}
