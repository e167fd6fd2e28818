// SPDX-License-Identifier: GPL-2.0-or-later
/* Streams: open lines, filled word by word. */
#include "ssd.h"

#define MILLION 1000000

/* Of the upper half, which is scaled. */
u32 nvc_random(struct ssd *s, u32 below)
{
	return (nvc_next_random(&s->random) >> 32) * below >> 32;
}

static void close_line(struct nvc *c, struct ssd_stream *stream)
{
	struct ssd *s = ssd_of(c);
	struct ssd_line *line = &s->a.lines[stream->line];

	line->state = SSD_CLOSED;
	line->closed = s->closings++;
	if (line->stream != SSD_MAP)
		nvc_line_put(s, stream->line, nvc_line_key(c, stream->line));
	stream->line = SSD_NONE;
}

static u32 word_base(const struct ssd *s, const struct ssd_stream *stream)
{
	return stream->line * s->shape.per_line + stream->word * s->shape.per_program;
}

static void open_line(struct nvc *c, u32 id)
{
	u64 retention = c->config.model.retention * SSD_MS;
	struct ssd *s = ssd_of(c);
	struct ssd_stream *stream = &s->streams[id];

	stream->line = nvc_line_alloc(s);
	stream->word = 0;
	s->a.lines[stream->line].stream = id;
	s->map_lines += id == SSD_MAP;
	s->a.lines[stream->line].opened = s->time + s->epoch;
	if (retention)
		s->gc.due = nvc_min(s->gc.due, s->time + retention);
	if (id >= SSD_PLACED && ssd_of_host(id))
		s->placement.ruhs[ssd_handle(id)].reclaim_units++;
}

/* Goes to the next word on a good block, if need be of a new line. False if there is none. */
static bool next_word(struct nvc *c, u32 id)
{
	struct ssd *s = ssd_of(c);
	const struct ssd_shape *g = &s->shape;
	struct ssd_stream *stream = &s->streams[id];

	for (;;) {
		if (stream->line == SSD_NONE) {
			if (!s->free_lines)
				return false;
			open_line(c, id);
		}
		while (stream->word < g->words &&
		       ssd_bad(s, stream->line, stream->word % g->lanes))
			stream->word++;
		if (stream->word < g->words)
			return true;
		close_line(c, stream);
	}
}

/* The block of the word turned out bad: what is current of it goes to the next word. */
static void move_word(struct nvc *c, u32 id)
{
	struct ssd *s = ssd_of(c);
	struct ssd_stream *stream = &s->streams[id];
	u32 from = word_base(s, stream);
	u32 fill = stream->fill;
	u32 line = stream->line;
	u32 i;

	s->stats.pad_units += s->shape.per_program - fill;
	nvc_line_mark_bad(s, line, stream->word++ % s->shape.lanes);
	stream->fill = 0;
	next_word(c, id);
	if (ssd_of_host(id))
		s->a.slots[stream->slot].base = word_base(s, stream);
	for (i = 0; i < fill; i++) {
		u32 place = from + i;
		u32 at = place - line * s->shape.per_line;
		bool valid = ssd_valid_map(s, line)[at / 64] >> (at % 64) & 1;
		u32 to = word_base(s, stream) + stream->fill;

		nvc_undo_moved(s, place, valid ? to : SSD_NONE);
		if (!valid)
			continue;
		s->stats.pad_units++;
		nvc_unit_drop(c, place);
		nvc_unit_place(c, s->a.p2l[place], to);
		stream->fill++;
	}
}

/* Blocks turn bad only while there is room to move what they hold. */
static bool program_fails(struct nvc *c)
{
	u32 chance = c->config.model.program_fail;
	struct ssd *s = ssd_of(c);

	return chance && !s->stats.read_only && ssd_free_lines(s) > s->shape.reserve + 1 &&
	       nvc_random(s, MILLION) < chance;
}

/* Programs the word, full or not. */
static void program_word(struct nvc *c, u32 id)
{
	struct ssd *s = ssd_of(c);
	struct ssd_stream *stream = &s->streams[id];
	u64 done = nvc_nand_program(c, stream->word, stream->ready);
	struct ssd_line *line;

	while (program_fails(c)) {
		move_word(c, id);
		done = nvc_nand_program(c, stream->word, done);
	}
	line = &s->a.lines[stream->line];
	line->programmed = nvc_max(line->programmed, done);
	s->stats.pad_units += s->shape.per_program - stream->fill;
	stream->fill = 0;
	stream->ready = 0;
	stream->word++;
	if (ssd_of_host(id))
		nvc_buffer_done(s, stream->slot, done);
	else
		s->gc.copied = nvc_max(s->gc.copied, done);
}

/**
 * nvc_stream_word() - begin a word, if the last is programmed
 * @c: the device
 * @id: enum ssd_stream_id
 *
 * Return: first physical unit of the word, or SSD_NONE if no line is free.
 */
u32 nvc_stream_word(struct nvc *c, u32 id)
{
	struct ssd_stream *stream = &ssd_of(c)->streams[id];

	if (!stream->fill && !next_word(c, id))
		return SSD_NONE;
	return word_base(ssd_of(c), stream);
}

/**
 * nvc_stream_append() - write a unit
 * @c: the device
 * @id: enum ssd_stream_id; its word is begun
 * @unit: logical; where it was is current no more
 * @ready: ns, when the data are there
 */
void nvc_stream_append(struct nvc *c, u32 id, u32 unit, u64 ready)
{
	struct ssd *s = ssd_of(c);
	struct ssd_stream *stream = &s->streams[id];
	u32 place = word_base(s, stream) + stream->fill;

	if (s->a.l2p[unit] != SSD_NONE)
		nvc_unit_drop(c, s->a.l2p[unit]);
	else
		s->stats.mapped_units++;
	nvc_unit_place(c, unit, place);
	stream->ready = nvc_max(stream->ready, ready);
	if (++stream->fill == s->shape.per_program)
		program_word(c, id);
}

/**
 * nvc_stream_write() - write a unit, in a word that is begun if need be
 * @c: the device
 * @id: enum ssd_stream_id
 * @unit: logical, or a page of the map
 * @ready: ns, when the data are there
 *
 * Return: false if no line is free: then it is lost.
 */
bool nvc_stream_write(struct nvc *c, u32 id, u32 unit, u64 ready)
{
	if (nvc_stream_word(c, id) == SSD_NONE) {
		nvc_unit_lose(c, unit);
		return false;
	}
	nvc_stream_append(c, id, unit, ready);
	return true;
}

/**
 * nvc_stream_pad() - program what there is of a word
 * @c: the device
 * @id: enum ssd_stream_id
 */
void nvc_stream_pad(struct nvc *c, u32 id)
{
	struct ssd_stream *stream = &ssd_of(c)->streams[id];

	if (!stream->fill)
		return;
	stream->ready = nvc_max(stream->ready, ssd_of(c)->time);
	program_word(c, id);
}

/**
 * nvc_stream_leave() - close the line of a stream, full or not
 * @c: the device
 * @id: enum ssd_stream_id
 */
void nvc_stream_leave(struct nvc *c, u32 id)
{
	struct ssd_stream *stream = &ssd_of(c)->streams[id];

	nvc_stream_pad(c, id);
	if (stream->line != SSD_NONE)
		close_line(c, stream);
}

/**
 * nvc_stream_room() - what the line of a stream still takes
 * @s: the SSD
 * @id: enum ssd_stream_id
 *
 * Return: units; 0 too if there is no line.
 */
u32 nvc_stream_room(const struct ssd *s, u32 id)
{
	const struct ssd_stream *stream = &s->streams[id];
	const struct ssd_shape *g = &s->shape;
	u32 word = stream->word;
	u32 left = 0;

	if (stream->line == SSD_NONE)
		return 0;
	for (; word % g->lanes; word++)
		left += !ssd_bad(s, stream->line, word % g->lanes);
	left += (g->words - word) / g->lanes * s->a.lines[stream->line].good;
	return left * g->per_program - stream->fill;
}
