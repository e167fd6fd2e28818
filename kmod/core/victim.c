// SPDX-License-Identifier: GPL-2.0-or-later
/* Which line to collect. */
#include "ssd.h"

/* How often chance may hit a line that cannot be collected. */
#define DRAWS 8
/* Lines that wear levelling looks at with each victim. */
#define WEAR_LINES 8

/*
 * Of two lines the one with more to gain for what copying it costs, times its
 * age: (1 - u) age / 2u of the log-structured file system.
 */
static u64 benefit(const struct ssd *s, u32 line)
{
	const struct ssd_line *l = &s->a.lines[line];
	u64 age = nvc_min(s->closings - l->closed, 0xffffffff);

	return nvc_div(age * nvc_line_gain(s, line), 2 * l->valid + 1);
}

static u64 score(const struct nvc *c, u32 line)
{
	const struct ssd *s = ssd_of(c);

	if (c->config.model.gc_policy == SSD_COST_BENEFIT)
		return benefit(s, line);
	return nvc_line_gain(s, line);
}

/* Of all closed lines the one with the best score; the oldest if @fifo and it gains anything. */
static u32 best_line(const struct nvc *c, bool fifo)
{
	const struct ssd *s = ssd_of(c);
	u32 first = s->a.heads[0];
	u32 line = first;
	u32 best = SSD_NONE;
	u64 most = 0;

	if (first == SSD_NONE)
		return SSD_NONE;
	do {
		if (nvc_line_gain(s, line) && (best == SSD_NONE || score(c, line) > most)) {
			best = line;
			most = score(c, line);
			if (fifo)
				return best;
		}
		line = s->a.lines[line].next;
	} while (line != first);
	return best;
}

static u32 draw(struct ssd *s)
{
	u32 i;

	for (i = 0; i < DRAWS; i++) {
		u32 line = nvc_random(s, s->shape.lines);

		if (ssd_in_list(s, line) && nvc_line_gain(s, line))
			return line;
	}
	return SSD_NONE;
}

static u32 drawn_line(struct nvc *c, u32 choices)
{
	struct ssd *s = ssd_of(c);
	u32 best = SSD_NONE;

	while (choices--) {
		u32 line = draw(s);

		if (best == SSD_NONE ||
		    (line != SSD_NONE && nvc_line_gain(s, line) > nvc_line_gain(s, best)))
			best = line;
	}
	return best == SSD_NONE ? best_line(c, false) : best;
}

static u32 greedy_line(const struct ssd *s)
{
	u32 line = nvc_line_first(s);

	return line != SSD_NONE && nvc_line_gain(s, line) ? line : SSD_NONE;
}

/* Collecting it gives nothing back perhaps, but takes no more than it gives. */
bool nvc_movable(const struct ssd *s, u32 line)
{
	return ssd_in_list(s, line) && s->a.lines[line].valid <= nvc_line_room(s, line);
}

/* Looks for a line that was worn much less than the most worn, for its data to move. */
static void find_cold(struct nvc *c)
{
	struct ssd *s = ssd_of(c);
	u32 i;

	for (i = 0; c->config.model.wear_gap && i < WEAR_LINES; i++) {
		u32 line = s->gc.wear_next;

		s->gc.wear_next = line + 1 < s->shape.lines ? line + 1 : 0;
		if (nvc_movable(s, line) && s->a.lines[line].erases + c->config.model.wear_gap <=
					s->stats.most_erases)
			s->gc.wear = line;
	}
}

/**
 * nvc_victim() - choose a line to collect
 * @c: the device
 *
 * Return: a closed line, or SSD_NONE if none would give anything back.
 */
u32 nvc_victim(struct nvc *c)
{
	const struct nvc_model *m = &c->config.model;
	struct ssd *s = ssd_of(c);
	u32 cold = s->gc.wear;

	s->gc.wear = SSD_NONE;
	if (cold != SSD_NONE && nvc_movable(s, cold)) {
		s->stats.wear_victims++;
		return cold;
	}
	/* every other victim at most: one that gives nothing back must not follow another */
	find_cold(c);
	switch (m->gc_policy) {
	case SSD_GREEDY:
		return greedy_line(s);
	case SSD_CHOICE:
		return drawn_line(c, m->gc_choices);
	case SSD_RANDOM:
		return drawn_line(c, 1);
	default:
		return best_line(c, m->gc_policy == SSD_FIFO);
	}
}
