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
	nvc_line_put(s, stream->line, nvc_line_key(c, stream->line));
	stream->line = SSD_NONE;
}

static u32 word_base(const struct ssd *s, const struct ssd_stream *stream)
{
	return stream->line * s->shape.per_line + stream->word * s->shape.per_program;
}

/* Goes to the next word on a good block, if need be of a new line. False if there is none. */
static bool next_word(struct nvc *c, struct ssd_stream *stream)
{
	struct ssd *s = ssd_of(c);
	const struct ssd_shape *g = &s->shape;

	for (;;) {
		if (stream->line == SSD_NONE) {
			if (!s->free_lines)
				return false;
			stream->line = nvc_line_alloc(s);
			stream->word = 0;
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
static void move_word(struct nvc *c, struct ssd_stream *stream)
{
	struct ssd *s = ssd_of(c);
	u32 from = word_base(s, stream);
	u32 fill = stream->fill;
	u32 line = stream->line;
	u32 i;

	s->stats.pad_units += s->shape.per_program - fill;
	nvc_line_mark_bad(s, line, stream->word++ % s->shape.lanes);
	stream->fill = 0;
	next_word(c, stream);
	if (stream != &s->streams[SSD_GC])
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

	return chance && !s->stats.read_only && s->free_lines > SSD_RESERVE + 1 &&
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
		move_word(c, stream);
		done = nvc_nand_program(c, stream->word, done);
	}
	line = &s->a.lines[stream->line];
	line->programmed = nvc_max(line->programmed, done);
	s->stats.pad_units += s->shape.per_program - stream->fill;
	stream->fill = 0;
	stream->ready = 0;
	stream->word++;
	if (id == SSD_GC)
		s->gc.copied = nvc_max(s->gc.copied, done);
	else
		nvc_buffer_done(s, stream->slot, done);
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

	if (!stream->fill && !next_word(c, stream))
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
