// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * NAND: when a read, a program or an erase is done.
 *
 * A die does one thing at a time, in the order it was asked, but for reads of
 * the host that may interrupt. A channel or a link serves whoever is ready
 * first: a transfer booked for later leaves the time before it to others.
 */
#include "nand.h"

/* ns for a byte, at MB/s, times 2^24: a thousandth of a per cent at worst. */
static u64 byte_cost(u32 speed)
{
	return speed ? nvc_div(1000ULL << SSD_COST_SHIFT, speed) : 0;
}

/* Page types of a cell in the order they are programmed. */
static void by_type(u32 bits, u32 lsb, u32 csb, u32 msb, u32 tsb, u32 *time)
{
	time[0] = lsb;
	time[1] = bits == 2 ? msb : csb;
	time[2] = msb;
	time[3] = tsb;
}

void nvc_nand_timing(struct nvc *c)
{
	const struct nvc_model *m = &c->config.model;
	struct ssd *s = ssd_of(c);

	by_type(m->cell_bits, m->read_lsb, m->read_csb, m->read_msb, m->read_tsb, s->sense);
	by_type(m->cell_bits, m->program_lsb, m->program_csb, m->program_msb, m->program_tsb,
		s->program);
	/* what may be read how often, and how old it may be, has changed too */
	s->gc.due = c->now;
	s->channel_cost = byte_cost(m->channel_speed);
	s->link_cost = byte_cost(m->link_speed);
}

/* Gap @i, counted from the earliest, which a ring forgets at no cost. */
static struct ssd_gap *gap_at(struct ssd_timeline *t, u32 i)
{
	return &t->gap[(t->first + i) % SSD_GAPS];
}

static void drop_gap(struct ssd_timeline *t, u32 i)
{
	t->gaps--;
	for (; i < t->gaps; i++)
		*gap_at(t, i) = *gap_at(t, i + 1);
}

static void insert_gap(struct ssd_timeline *t, u32 at, u64 from, u64 to)
{
	u32 i;

	for (i = t->gaps++; i > at; i--)
		*gap_at(t, i) = *gap_at(t, i - 1);
	gap_at(t, at)->from = from;
	gap_at(t, at)->to = to;
}

/* Takes a part of a gap. Where there is no place for two rests the first is given up. */
static void use_gap(struct ssd_timeline *t, u32 i, u64 start, u64 end)
{
	struct ssd_gap *gap = gap_at(t, i);
	u64 from = gap->from;

	if (end == gap->to) {
		gap->to = start;
		if (start == from)
			drop_gap(t, i);
		return;
	}
	gap->from = end;
	if (start > from && t->gaps < SSD_GAPS)
		insert_gap(t, i, from, start);
}

/* Does one thing in a gap, or else after all others. */
u64 nvc_timeline_fill(struct ssd_timeline *t, u64 now, u64 ready, u64 duration)
{
	u32 i;

	for (i = 0; i < t->gaps; i++) {
		u64 start = nvc_max(gap_at(t, i)->from, ready);

		if (start + duration <= gap_at(t, i)->to) {
			use_gap(t, i, start, start + duration);
			return start + duration;
		}
	}
	return ssd_book_last(t, now, ready, duration);
}

/* As nand_read(), for those to whom its size matters more than its speed. */
u64 nvc_nand_read(struct nvc *c, u32 at, u32 units, u64 ready, bool host)
{
	return nand_read(c, at, units, ready, host);
}

/*
 * What a die does in its spare time gives way to what is asked of it, and waits.
 * Reads of what has no zones are spared this: they do not put it off.
 */
static u64 interrupt(const struct nvc_model *m, struct ssd_die *die, u64 start, u32 time)
{
	if (die->background <= start)
		return start;
	die->background += (u64)time + m->suspend_time;
	return start + m->suspend_time;
}

static u64 program_page(struct nvc *c, struct ssd_die *die, u32 page, u64 ready)
{
	const struct nvc_model *m = &c->config.model;
	struct ssd *s = ssd_of(c);
	u64 start = nand_transfer(s, die->channel, s->shape.per_program, ready);
	u32 time = s->program[page % m->cell_bits];

	s->stats.programs++;
	die->busy = interrupt(m, die, nvc_max(die->busy, start), time) + time;
	return die->busy;
}

/**
 * nvc_nand_program() - program a word
 * @c: the device
 * @word: of a line
 * @ready: ns, when its data are there
 *
 * Return: ns, when it is done.
 */
u64 nvc_nand_program(struct nvc *c, u32 word, u64 ready)
{
	const struct nvc_model *m = &c->config.model;
	struct ssd *s = ssd_of(c);
	u32 page = word / s->shape.lanes * m->program_pages;

	return program_page(c, &s->a.dies[word % s->shape.lanes % s->shape.dies], page, ready);
}

/* The same for who knows the die: page @page of a block of @die, for the host. */
u64 nvc_die_read(struct nvc *c, u32 die, u32 page, u32 units, u64 ready)
{
	const struct nvc_model *m = &c->config.model;
	struct ssd *s = ssd_of(c);
	struct ssd_die *d = &s->a.dies[die];

	ready = interrupt(m, d, nvc_max(ready, m->suspend ? d->reads : d->busy),
			  s->sense[page % m->cell_bits]);
	return nand_read_page(c, d, page, units, ready, true);
}

u64 nvc_die_program(struct nvc *c, u32 die, u32 page, u64 ready)
{
	return program_page(c, &ssd_of(c)->a.dies[die], page, ready);
}

/**
 * nvc_die_later() - have a die do something in its spare time
 * @c: the device
 * @die: which
 * @ready: ns, when it may begin
 * @time: ns that it takes
 *
 * Return: ns, when it is done if nothing comes between.
 */
u64 nvc_die_later(struct nvc *c, u32 die, u64 ready, u64 time)
{
	struct ssd_die *d = &ssd_of(c)->a.dies[die];

	d->background = nvc_max(nvc_max(d->busy, d->background), ready) + time;
	return d->background;
}

/**
 * nvc_nand_erase() - erase all blocks of a line
 * @c: the device
 * @line: the line
 * @ready: ns, when nothing on it is needed any more
 */
void nvc_nand_erase(struct nvc *c, u32 line, u64 ready)
{
	struct ssd *s = ssd_of(c);
	u32 lane;

	s->stats.erases++;
	s->stats.erased_units += (u64)s->a.lines[line].good * s->shape.rows * s->shape.per_program;
	s->a.lines[line].erases++;
	for (lane = 0; lane < s->shape.lanes; lane++) {
		struct ssd_die *die = &s->a.dies[lane % s->shape.dies];

		if (!ssd_bad(s, line, lane))
			die->busy = nvc_max(die->busy, ready) + c->config.model.erase;
	}
}
