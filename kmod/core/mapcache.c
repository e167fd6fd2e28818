// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The map in memory that is too small for all of it, as in DFTL (Gupta et al.,
 * ASPLOS 2009). Its pages lie on the medium, and where each lies is always known.
 * Memory holds some of them; which one is given up a clock's hand says.
 *
 * A page that is not in memory is read when it is needed; one that was changed
 * is written when it is given up, with others in a word of a stream of its own.
 * Its lines are set aside, see shape_map(). When one more than can be spared is
 * begun, the emptiest is collected: that needs nothing else of the map, so it may
 * happen in the midst of anything.
 *
 * The tables of the core are whole all the time: this says what it costs.
 */
#include "snapshot.h"
#include "ssd.h"

/* Whether what is at @place waits in the controller for its word to be full. */
static bool waits(const struct ssd *s, u32 place)
{
	const struct ssd_stream *stream = &s->streams[SSD_MAP];
	u32 base = stream->line * s->shape.per_line + stream->word * s->shape.per_program;

	return stream->fill && place - base < stream->fill;
}

/* Returns when the page has come. One that was never written has nothing in it. */
static u64 fetch(struct nvc *c, u32 page, u64 ready, bool host)
{
	struct ssd *s = ssd_of(c);
	u32 place = s->a.l2p[s->shape.units + page];

	if (place == SSD_NONE || waits(s, place))
		return ready;
	s->stats.map_reads++;
	ssd_disturb(c, ssd_line_of(s, place));
	return nvc_nand_read(c, place % s->shape.per_line, 1, ready, host);
}

static void put(struct nvc *c, u32 page, u64 ready)
{
	struct ssd *s = ssd_of(c);

	s->stats.map_units += nvc_stream_write(c, SSD_MAP, s->shape.units + page, ready);
}

/**
 * nvc_mapping_collect() - move what is current of a line of the map, and erase it
 * @c: the device
 * @line: closed
 */
void nvc_mapping_collect(struct nvc *c, u32 line)
{
	struct ssd *s = ssd_of(c);
	const struct ssd_shape *g = &s->shape;
	u8 offsets[SSD_MAX_PAGE];
	u32 at, i;

	for (at = 0; at < g->per_line && s->a.lines[line].valid; at += g->per_page) {
		u32 count = nvc_gc_units(s, line, at, offsets);
		u64 ready = s->time;

		if (count) {
			ready = nvc_nand_read(c, at, count, ready, false);
			s->stats.map_reads++;
		}
		for (i = 0; i < count; i++)
			put(c, s->a.p2l[line * g->per_line + at + offsets[i]] - g->units, ready);
		s->stats.map_moved += count;
	}
	nvc_gc_erase(c, line, nvc_max(s->time, s->gc.copied));
}

/* Of the closed lines of the map the one with the least on it, or SSD_NONE. */
static u32 emptiest(const struct ssd *s)
{
	u32 best = SSD_NONE;
	u32 line;

	for (line = 0; line < s->shape.lines; line++) {
		const struct ssd_line *l = &s->a.lines[line];

		if (l->state == SSD_CLOSED && l->stream == SSD_MAP &&
		    (best == SSD_NONE || l->valid < s->a.lines[best].valid))
			best = line;
	}
	return best;
}

/* Writes a page, and keeps one of the lines of the map free. */
static void store(struct nvc *c, u32 page, u64 ready)
{
	struct ssd *s = ssd_of(c);
	u32 line;

	put(c, page, ready);
	if (s->map_lines < s->shape.map_lines)
		return;
	line = emptiest(s);
	if (line != SSD_NONE)
		nvc_mapping_collect(c, line);
}

/* A frame whose page, if there is one, has not been used since the hand passed: it is given up. */
static u32 free_frame(struct nvc *c, u64 ready)
{
	struct ssd *s = ssd_of(c);
	struct ssd_frame *frame;
	u32 at;

	for (;;) {
		at = s->hand;
		frame = &s->a.frames[at];
		s->hand = at + 1 < s->shape.frames ? at + 1 : 0;
		if (frame->page == SSD_NONE)
			return at;
		if (!frame->used)
			break;
		frame->used = 0;
	}
	if (frame->dirty)
		store(c, frame->page, ready);
	s->a.frame_of[frame->page] = SSD_NONE;
	return at;
}

/* Has a page in memory. Returns when it is there. */
static u64 load(struct nvc *c, u32 page, u64 ready, bool host, bool change)
{
	struct ssd *s = ssd_of(c);
	struct ssd_frame *frame;
	u32 at = s->a.frame_of[page];

	if (at == SSD_NONE) {
		at = free_frame(c, ready);
		s->a.frame_of[page] = at;
		s->a.frames[at] = (struct ssd_frame){
			.page = page, .there = fetch(c, page, ready, host),
		};
	}
	frame = &s->a.frames[at];
	frame->used = 1;
	frame->dirty |= change;
	return nvc_max(ready, frame->there);
}

static void count(struct ssd *s, u32 page, u32 units)
{
	bool missing = s->a.frame_of[page] == SSD_NONE;

	s->stats.map_misses += missing;
	s->stats.map_hits += units - missing;
}

/**
 * nvc_mapping_read() - look up where units lie, for the host
 * @c: the device, with pages of the map on the medium
 * @unit: first, logical
 * @last: one
 * @ready: ns, when it is asked for
 *
 * Return: ns, when it is known of all of them.
 */
u64 nvc_mapping_read(struct nvc *c, u32 unit, u32 last, u64 ready)
{
	u64 end = ready;

	while (unit <= last) {
		u32 page = unit >> SSD_MAP_SHIFT;
		u32 to = nvc_min(last, page << SSD_MAP_SHIFT | ((1 << SSD_MAP_SHIFT) - 1));

		count(ssd_of(c), page, to - unit + 1);
		end = nvc_max(end, load(c, page, ready, true, false));
		unit = to + 1;
	}
	return end;
}

/* A unit is written or lost; its page of the map changes. Returns when that is in memory. */
u64 nvc_mapping_change(struct nvc *c, u32 unit, u64 ready)
{
	if (!ssd_of(c)->shape.map_pages)
		return ready;
	return load(c, unit >> SSD_MAP_SHIFT, ready, false, true);
}

/**
 * nvc_mapping_write() - look up and change where a unit lies, for the host
 * @c: the device
 * @unit: logical
 * @ready: ns, when it is asked for
 *
 * Return: ns, when its page of the map is in memory.
 */
u64 nvc_mapping_write(struct nvc *c, u32 unit, u64 ready)
{
	if (ssd_of(c)->shape.map_pages)
		count(ssd_of(c), unit >> SSD_MAP_SHIFT, 1);
	return nvc_mapping_change(c, unit, ready);
}

/* All that was changed goes to the medium, and memory holds nothing any more. */
void nvc_mapping_save(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	u32 i;

	for (i = 0; i < s->shape.frames; i++) {
		struct ssd_frame *frame = &s->a.frames[i];

		if (frame->page == SSD_NONE)
			continue;
		if (frame->dirty)
			store(c, frame->page, s->time);
		s->a.frame_of[frame->page] = SSD_NONE;
		*frame = (struct ssd_frame){ .page = SSD_NONE };
	}
	s->hand = 0;
}

static bool sound_frame(const struct ssd *s, const struct ssd_frame *frame)
{
	if (frame->page == SSD_NONE)
		return true;
	return frame->page < s->shape.map_pages && frame->used <= 1 && frame->dirty <= 1 &&
	       nvc_sound(frame->there) && s->a.frame_of[frame->page] == SSD_NONE;
}

/* Whether there can be such memory; where each page is in it, and how many lines there are. */
bool nvc_mapping_thaw(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	u32 i;

	memset(s->a.frame_of, 0xff, (size_t)s->shape.map_pages * sizeof(u32));
	for (i = 0; i < s->shape.frames; i++) {
		if (!sound_frame(s, &s->a.frames[i]))
			return false;
		if (s->a.frames[i].page != SSD_NONE)
			s->a.frame_of[s->a.frames[i].page] = i;
	}
	s->map_lines = 0;
	for (i = 0; i < s->shape.lines; i++)
		s->map_lines += (s->a.lines[i].state == SSD_OPEN ||
				 s->a.lines[i].state == SSD_CLOSED) &&
				s->a.lines[i].stream == SSD_MAP;
	return s->hand < s->shape.frames || !s->hand;
}
