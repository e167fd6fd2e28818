// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Lines: which are free, and the closed ones sorted by what collecting them
 * would not give back. The lists are rings, so the oldest is first; a tree of
 * bits finds the best list in four steps.
 */
#include "ssd.h"

/* Free lines that are compared by wear when one is opened. */
#define FREE_CHOICES 16

static void link_line(struct ssd_line *lines, u32 *head, u32 line)
{
	u32 first = *head == SSD_NONE ? line : *head;
	u32 last = *head == SSD_NONE ? line : lines[first].prev;

	lines[line].next = first;
	lines[line].prev = last;
	lines[last].next = line;
	lines[first].prev = line;
	*head = first;
}

static void unlink_line(struct ssd_line *lines, u32 *head, u32 line)
{
	u32 next = lines[line].next;
	u32 prev = lines[line].prev;

	lines[prev].next = next;
	lines[next].prev = prev;
	if (*head == line)
		*head = next == line ? SSD_NONE : next;
}

static void mark_filled(struct ssd *s, u32 key)
{
	u32 level;

	for (level = 0; level < SSD_LEVELS; level++) {
		s->a.filled[level][key / 64] |= 1ULL << (key % 64);
		key /= 64;
	}
}

/* Adds a line to the list @key, as its youngest. */
void nvc_line_put(struct ssd *s, u32 line, u32 key)
{
	s->a.lines[line].key = key;
	link_line(s->a.lines, &s->a.heads[key], line);
	mark_filled(s, key);
}

/* The tree of bits, from the lists. */
void nvc_line_plant(struct ssd *s)
{
	u32 bits = s->shape.per_line + 1;
	u32 level, key;

	for (level = 0; level < SSD_LEVELS; level++) {
		bits = (bits + 63) / 64;
		memset(s->a.filled[level], 0, bits * sizeof(u64));
	}
	for (key = 0; key <= s->shape.per_line; key++)
		if (s->a.heads[key] != SSD_NONE)
			mark_filled(s, key);
}

/* Takes a closed line out of its list. */
void nvc_line_take(struct ssd *s, u32 line)
{
	u32 key = s->a.lines[line].key;
	u32 level;

	unlink_line(s->a.lines, &s->a.heads[key], line);
	if (s->a.heads[key] != SSD_NONE)
		return;
	for (level = 0; level < SSD_LEVELS; level++) {
		u64 *word = &s->a.filled[level][key / 64];

		*word &= ~(1ULL << (key % 64));
		if (*word)
			return;
		key /= 64;
	}
}

/* Two lines of which half is good hold what one whole line does: collection counts on it. */
static bool worn_out(const struct ssd *s, u32 line)
{
	return s->a.lines[line].good * 2 < s->shape.lanes;
}

/* Units that a line holds when it is next erased. */
u32 nvc_line_room(const struct ssd *s, u32 line)
{
	return worn_out(s, line) ? 0 : s->a.lines[line].good * s->shape.rows * s->shape.per_program;
}

/* Units that collecting a line gives back. */
u32 nvc_line_gain(const struct ssd *s, u32 line)
{
	u32 room = nvc_line_room(s, line);

	return room - nvc_min(room, s->a.lines[line].valid);
}

/* The list a closed line belongs to: the less to gain the later; all in one where order is age. */
u32 nvc_line_key(const struct nvc *c, u32 line)
{
	const struct ssd *s = ssd_of(c);

	if (c->config.model.gc_policy != SSD_GREEDY)
		return 0;
	return s->shape.per_line - nvc_line_gain(s, line);
}

/* The oldest line of the best list, or SSD_NONE. */
u32 nvc_line_first(const struct ssd *s)
{
	u32 level = SSD_LEVELS;
	u32 key = 0;

	if (!s->a.filled[SSD_LEVELS - 1][0])
		return SSD_NONE;
	while (level--)
		key = key * 64 + __builtin_ctzll(s->a.filled[level][key]);
	return s->a.heads[key];
}

/* Opens a free line, of the next few the least worn. There is one. */
u32 nvc_line_alloc(struct ssd *s)
{
	struct ssd_line *lines = s->a.lines;
	u32 best = s->free_head;
	u32 line = best;
	u32 i;

	for (i = 1; i < FREE_CHOICES; i++) {
		line = lines[line].next;
		if (lines[line].erases < lines[best].erases)
			best = line;
	}
	unlink_line(lines, &s->free_head, best);
	s->free_lines--;
	lines[best].state = SSD_OPEN;
	lines[best].valid = 0;
	lines[best].programmed = 0;
	lines[best].reads = 0;
	memset(ssd_valid_map(s, best), 0, s->shape.map_words * sizeof(u64));
	return best;
}

/* An erased line is free, or retires. */
void nvc_line_free(struct ssd *s, u32 line)
{
	s->map_lines -= s->a.lines[line].stream == SSD_MAP;
	if (worn_out(s, line)) {
		s->a.lines[line].state = SSD_RETIRED;
		s->stats.retired_lines++;
		return;
	}
	s->a.lines[line].state = SSD_FREE;
	link_line(s->a.lines, &s->free_head, line);
	s->free_lines++;
}

/* Units on good blocks that a drive needs to write. */
u64 nvc_line_least(const struct ssd *s)
{
	return s->shape.units + (u64)(s->shape.spare_lines - 1) * s->shape.per_line;
}

/* A drive without reserves stops writing. */
void nvc_line_reserves(struct ssd *s)
{
	s->stats.read_only |= s->shape.lines && s->stats.usable_units < nvc_line_least(s);
}

/* A block is bad from here on. */
void nvc_line_mark_bad(struct ssd *s, u32 line, u32 lane)
{
	const struct ssd_shape *g = &s->shape;

	if (ssd_bad(s, line, lane))
		return;
	s->stats.usable_units -= nvc_line_room(s, line);
	s->a.lines[line].good--;
	s->stats.usable_units += nvc_line_room(s, line);
	s->a.bad[(size_t)line * g->lane_words + lane / 64] |= 1ULL << (lane % 64);
	s->stats.bad_blocks++;
	nvc_line_reserves(s);
}

/* All lines are new. */
void nvc_line_reset(struct ssd *s)
{
	const struct ssd_shape *g = &s->shape;
	u32 line;

	memset(s->a.heads, 0xff, (g->per_line + 1) * sizeof(u32));
	nvc_line_plant(s);
	memset(s->a.lines, 0, (size_t)g->lines * sizeof(struct ssd_line));
	memset(s->a.bad, 0, (size_t)g->lines * g->lane_words * sizeof(u64));
	s->stats.usable_units = (u64)g->lines * g->per_line;
	for (line = 0; line < g->lines; line++)
		s->a.lines[line].good = g->lanes;
}
