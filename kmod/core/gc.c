// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Garbage collection. One step copies what is current of one word of the
 * victim; the last step erases it.
 *
 * Why it ends: closed lines always hold something to gain, since
 * SSD_SPARE_LINES more lines than the data fill are either open or reserved.
 * Collecting a line takes as many units as it copies, and gives back what the
 * line held, which is more; so the SSD_RESERVE lines that only collection may
 * take are never used up. What eats into them (a bad block) happens only while
 * there are more.
 *
 * Where handles are isolated for good each has a line of its own for its copies.
 * A victim of one takes two lines at most and gives one back; what is left of the
 * last serves the next victim of that handle. So each handle costs one line once,
 * and there are as many more in reserve.
 */
#include "ssd.h"

#define MILLION 1000000
/* Steps of collection that one command may find to have happened before it. */
#define IDLE_STEPS 256

/* Takes a closed line to be collected. */
void nvc_gc_begin(struct nvc *c, u32 line)
{
	struct ssd *s = ssd_of(c);

	nvc_line_take(s, line);
	s->gc.victim = line;
	s->gc.word = 0;
	s->gc.moved = 0;
	s->stats.victims++;
}

static void wear_blocks(struct nvc *c, u32 line)
{
	const struct nvc_model *m = &c->config.model;
	struct ssd *s = ssd_of(c);
	u64 chance = m->erase_fail;
	u32 lane;

	if (!chance || s->stats.read_only || ssd_free_lines(s) <= s->shape.reserve + 1)
		return;
	if (m->endurance && s->a.lines[line].erases > m->endurance)
		chance = chance * 100;
	for (lane = 0; lane < s->shape.lanes; lane++)
		if (nvc_random(s, MILLION) < chance && !s->stats.read_only)
			nvc_line_mark_bad(s, line, lane);
}

/* Nothing on @line is current. */
void nvc_gc_erase(struct nvc *c, u32 line, u64 ready)
{
	struct ssd *s = ssd_of(c);

	nvc_nand_erase(c, line, ready);
	s->stats.most_erases = nvc_max(s->stats.most_erases, s->a.lines[line].erases);
	wear_blocks(c, line);
	nvc_line_free(s, line);
}

/* Nothing on the victim is current. The time that the last copies still take is neglected. */
static void finish(struct nvc *c, u64 now)
{
	struct ssd *s = ssd_of(c);
	u32 line = s->gc.victim;

	if (s->gc.moved)
		nvc_place_moved(c);
	nvc_undo_erased(s, line);
	nvc_gc_erase(c, line, nvc_max(now, s->gc.copied));
	s->gc.victim = SSD_NONE;
}

/* Writes a unit that is nobody's but collection's, to one of its streams. */
void nvc_gc_append(struct nvc *c, u32 unit, u32 id, u64 ready)
{
	struct ssd *s = ssd_of(c);

	if (!nvc_stream_write(c, id, unit, ready))
		return;
	s->stats.gc_units++;
	s->gc.seen = nvc_max(s->gc.seen, nvc_mapping_change(c, unit, ready));
}

/* Copies units of one page of the victim: @count of them, at @offsets from @at. */
static void copy_units(struct nvc *c, u32 at, const u8 *offsets, u32 count, u64 now)
{
	struct ssd *s = ssd_of(c);
	u32 place = s->gc.victim * s->shape.per_line + at;
	u64 ready = nvc_nand_read(c, at, count, now, false);
	u32 home = nvc_place_home(c, s->a.lines[s->gc.victim].stream);
	u32 i;

	s->gc.seen = nvc_max(s->gc.seen, ready);
	for (i = 0; i < count; i++) {
		u32 unit = s->a.p2l[place + offsets[i]];

		/* what this very command wrote is not marked as written yet */
		if (s->a.lines[s->gc.victim].closed < s->began && ssd_swept(c, unit)) {
			nvc_unit_forget(c, unit, ready);
			continue;
		}
		if (s->shape.handles)
			nvc_place_moving(c, unit);
		nvc_gc_append(c, unit, home, ready);
	}
}

/* The units of a page that are current, as offsets. Returns how many. */
u32 nvc_gc_units(const struct ssd *s, u32 line, u32 at, u8 *offsets)
{
	const u64 *map = ssd_valid_map(s, line);
	u32 end = at + s->shape.per_page;
	u32 count = 0;
	u32 i = at;

	while (i < end) {
		u64 rest = map[i / 64] >> (i % 64);

		if (!rest) {
			i = (i / 64 + 1) * 64;
			continue;
		}
		i += __builtin_ctzll(rest);
		if (i < end)
			offsets[count++] = i - at;
		i++;
	}
	return count;
}

/* Returns how many units of the word were not current. */
static u32 copy_word(struct nvc *c, u32 word, u64 now)
{
	struct ssd *s = ssd_of(c);
	const struct ssd_shape *g = &s->shape;
	u32 at = word * g->per_program;
	u32 end = at + g->per_program;
	u32 gained = g->per_program;
	u8 offsets[SSD_MAX_PAGE];

	if (ssd_bad(s, s->gc.victim, word % g->lanes))
		gained = 0;
	for (; at < end; at += g->per_page) {
		u32 count = nvc_gc_units(s, s->gc.victim, at, offsets);

		if (count)
			copy_units(c, at, offsets, count, now);
		gained -= nvc_min(count, gained);
	}
	return gained;
}

/* One step. Returns what it gave back, or SSD_NONE if there is nothing to gain. */
u32 nvc_gc_step(struct nvc *c, u64 now)
{
	struct ssd *s = ssd_of(c);
	u32 gained;

	if (s->gc.victim == SSD_NONE) {
		u32 line = nvc_victim(c);

		if (line == SSD_NONE)
			return SSD_NONE;
		nvc_gc_begin(c, line);
	}
	gained = copy_word(c, s->gc.word++, now);
	if (!s->a.lines[s->gc.victim].valid) {
		gained += (s->shape.words - s->gc.word) * s->shape.per_program;
		finish(c, now);
	}
	return gained;
}

/* Puts the victim back: something on it is current again. */
void nvc_gc_stop(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	u32 line = s->gc.victim;

	if (line == SSD_NONE)
		return;
	s->gc.victim = SSD_NONE;
	s->gc.due = 0;
	nvc_line_put(s, line, nvc_line_key(c, line));
}

/*
 * Makes room for a word of the host. Below gc_low writes pay as they go:
 * collection gives back as much as they take. Free lines that only collection
 * may take are waited for.
 */
void nvc_gc_room(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	u32 debt = s->shape.per_program;
	u32 gained = 0;

	if (ssd_free_lines(s) >= nvc_max(c->config.model.gc_low, s->shape.reserve + 2))
		return;
	while ((debt || ssd_free_lines(s) <= s->shape.reserve) && gained != SSD_NONE) {
		gained = nvc_gc_step(c, c->now);
		debt -= nvc_min(debt, gained);
	}
}

/* What happened while no command came, up to now. */
void nvc_gc_idle(struct nvc *c)
{
	const struct nvc_model *m = &c->config.model;
	struct ssd *s = ssd_of(c);
	struct ssd_gc *gc = &s->gc;
	u32 steps;

	gc->clock = nvc_max(gc->clock, s->time + m->gc_idle);
	if (!s->shape.units)
		return;
	for (steps = 0; steps < IDLE_STEPS && gc->clock < c->now; steps++) {
		s->time = gc->clock;
		if (ssd_free_lines(s) >= m->gc_background || nvc_gc_step(c, gc->clock) == SSD_NONE)
			return;
		gc->clock = nvc_max(gc->clock + 1, nvc_max(gc->seen, gc->copied));
	}
}
