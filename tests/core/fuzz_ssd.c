// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Throws random commands at random small SSDs, cuts their power at every kind
 * of moment, and compares with a list of what each block was ever told.
 *
 * Three devices get the same commands: one lives, a twin is moved to other
 * memory by snapshots now and then and must decide the same, and copies of the
 * first have their power cut, to see what is left. Meant to be built with the
 * sanitizers: devices have exactly nvc_size() bytes, filled with rubbish.
 *
 * usage: fuzz_ssd SEED ROUNDS
 */
#include "batch.h"
#include "fuzz.h"

#define MAX_BLOCKS 6000
#define MAX_UNDO 3000
#define COMMANDS 300
#define HISTORY 24
#define MAX_TIMES 16
#define BLOCKS_OF_UNIT 8

/* What a block was told: by which command, and when that is sure to be kept. */
struct word {
	u64 seq;
	u64 kept;
	bool zero;
};

/* What a write found, as the shell of a device keeps it. */
struct saved {
	u64 seq;
	u64 slba;
	u32 nlb;
	u64 old[BLOCKS_OF_UNIT];
};

/* Everything about the content of a device: what memory holds, what may be undone. */
struct content {
	u64 data[MAX_BLOCKS];
	struct saved saved[MAX_UNDO];
	u64 saves;
};

static struct nvc_config config;
static struct nvc_range ranges[NVC_MAX_RANGES];
static struct word history[MAX_BLOCKS][HISTORY];
static u32 told[MAX_BLOCKS];
static struct content content, after_cut;
static struct nvc_cmd commands[COMMANDS + 1];
static u64 clock_ns;
static u64 times[MAX_TIMES];

static u32 unit_blocks(void)
{
	return 1 << (12 - config.block_shift);
}

static void random_geometry(struct nvc_model *m)
{
	m->channels = 1 + below(3);
	m->dies = 1 + below(3);
	m->planes = 1 + below(3);
	m->page_size = 4096 << below(3);
	m->cell_bits = 1 + below(4);
	m->program_pages = below(2) ? 1 : m->cell_bits;
	m->multi_plane = below(2);
	m->blocks = 10 + below(60);
	m->pages = below(3) ? 0 : m->program_pages * (1 + below(4));
	if (m->pages)
		m->blocks = 0;
	m->buffer = below(200);
	m->spare = 50 + below(300);
}

static void random_live(struct nvc_model *m)
{
	static const u32 speeds[] = { 0, 50, 800, 100000 };

	m->suspend = below(2);
	m->suspend_time = below(20000);
	m->channel_speed = speeds[below(4)];
	m->link_speed = speeds[below(4)];
	m->erase = below(5000000);
	m->gc_low = 4 + below(4);
	m->gc_background = below(2) ? 0 : below(20);
	m->gc_idle = below(100000);
	m->wear_gap = below(2) ? 0 : 1 + below(4);
	m->recovery = below(10);
	m->gc_choices = 1 + below(4);
}

static void random_model(struct nvc_model *m)
{
	nvc_model_default(m);
	random_geometry(m);
	random_live(m);
	m->gc_policy = below(5);
	m->hot_cold = below(2);
	m->plp = !below(4);
	m->awupf = below(2) ? 0 : below(40);
	if (!below(3)) {
		m->bad_factory = below(20000);
		m->erase_fail = below(3000);
		m->program_fail = below(3000);
		m->endurance = below(20);
		m->spare += 500;
	}
}

static void random_config(void)
{
	do {
		memset(&config, 0, sizeof(config));
		config.blocks = 1 + below(below(3) ? MAX_BLOCKS : 300);
		config.kind = NVC_SSD;
		config.block_shift = below(2) ? 9 : 12;
		config.vwc = below(3) != 0;
		config.seed = any();
		config.timing.units = 1;
		config.timing.unit_shift = 12;
		random_model(&config.model);
	} while (nvc_check(&config));
}

static struct nvc *make(void)
{
	struct nvc *c = malloc(nvc_size(&config));

	CHECK(c);
	memset(c, 0xa5, nvc_size(&config));
	CHECK(!nvc_init(c, &config));
	CHECK(nvc_undo_units(c) <= MAX_UNDO);
	return c;
}

/* The same device in other memory; the old is freed if it is to move. */
static struct nvc *copy(struct nvc *c, bool move)
{
	size_t size = nvc_size(&config);
	struct nvc *to = malloc(size);
	struct nvc_snapshot snapshot;
	u64 flip = below(size);

	CHECK(to);
	nvc_freeze(c, &snapshot);
	memcpy(to, c, size);
	((u8 *)to)[flip] ^= 1;
	CHECK(nvc_thaw(to, &snapshot, &config) == -EBADMSG);
	((u8 *)to)[flip] ^= 1;
	CHECK(!nvc_thaw(to, &snapshot, &config));
	if (move)
		free(c);
	else
		CHECK(!nvc_thaw(c, &snapshot, &config));
	return to;
}

static void audit(const struct nvc *c)
{
	const char *wrong = batch_audit(c);

	if (wrong) {
		fprintf(stderr, "seed %llu: must hold: %s\n", round_seed, wrong);
		exit(1);
	}
}

static u64 visible(const struct nvc *c, const struct content *of, u64 lba)
{
	bool written;

	nvc_run(c, 1, lba, 1, &written);
	return written ? of->data[lba] : 0;
}

static void tell(u64 slba, u64 nlb, u64 seq, u64 kept, bool zero)
{
	for (; nlb; nlb--, slba++)
		history[slba][told[slba]++ % HISTORY] = (struct word){
			.seq = seq, .kept = kept, .zero = zero,
		};
}

/* Keeps what a write overwrites, a unit at a time. */
static void save(const struct nvc_cmd *cmd, u64 seq)
{
	u64 slba = cmd->slba;
	u64 end = slba + cmd->nlb;

	while (slba < end) {
		struct saved *s = &content.saved[content.saves++ % MAX_UNDO];
		u32 i;

		s->seq = seq;
		s->slba = slba;
		s->nlb = nvc_min(unit_blocks() - slba % unit_blocks(), end - slba);
		for (i = 0; i < s->nlb; i++) {
			s->old[i] = content.data[slba + i];
			content.data[slba + i] = seq;
		}
		slba += s->nlb;
	}
}

/* Sectors of a block. */
static u32 sectors(void)
{
	return 1 << (config.block_shift - NVC_MIN_BLOCK_SHIFT);
}

static void restore(struct content *of, const struct nvc_lost *lost)
{
	u32 i, block;

	for (i = 0; i < MAX_UNDO; i++) {
		const struct saved *s = &of->saved[i];

		if (s->seq != lost->seq || s->slba * sectors() != lost->first)
			continue;
		CHECK(s->nlb * sectors() == lost->count);
		for (block = 0; block < s->nlb; block++)
			of->data[s->slba + block] = s->old[block];
		return;
	}
	CHECK(!"what is lost was written before");
}

/* A block may hold what it was told last and for sure, or anything it was told since. */
static void check_block(const struct nvc *c, u64 lba, u64 now)
{
	u64 value = visible(c, &after_cut, lba);
	u32 n = told[lba];
	u32 i;

	for (i = n; i > 0 && i + HISTORY > n; i--) {
		const struct word *w = &history[lba][(i - 1) % HISTORY];

		if (value == (w->zero ? 0 : w->seq))
			return;
		CHECK(w->kept > now);
	}
	CHECK(i ? true : !value);
}

/* Of a write no larger than awupf all blocks are there that nothing came after, or none. */
static void check_torn(const struct nvc *c, u64 seq)
{
	const struct nvc_cmd *cmd = &commands[seq];
	u32 there = 0;
	u32 latest = 0;
	u32 i;

	if (cmd->opcode != NVC_WRITE || cmd->nlb > config.model.awupf + 1)
		return;
	for (i = 0; i < cmd->nlb; i++) {
		u64 lba = cmd->slba + i;

		if (!told[lba] || history[lba][(told[lba] - 1) % HISTORY].seq != seq)
			continue;
		latest++;
		there += visible(c, &after_cut, lba) == seq;
	}
	CHECK(!there || there == latest);
}

static void cut_copy(struct nvc *alive, u64 seq)
{
	static struct nvc_lost lost[MAX_UNDO];
	struct nvc *c = copy(alive, false);
	u64 now = clock_ns + (below(2) ? 0 : below(3000000));
	u64 ready, lba, i;
	u32 n = nvc_cut(c, now, lost, &ready);

	CHECK(ready >= now && n <= nvc_undo_units(c));
	CHECK(!config.model.plp || !n);
	audit(c);
	after_cut = content;
	for (i = 0; i < n; i++)
		restore(&after_cut, &lost[i]);
	for (lba = 0; lba < config.blocks; lba++)
		check_block(c, lba, now);
	for (i = 1; i <= seq; i++)
		check_torn(c, i);
	free(c);
}

static struct nvc_cmd random_cmd(void)
{
	static const u8 opcodes[] = {
		NVC_READ, NVC_WRITE, NVC_WRITE, NVC_WRITE, NVC_WRITE, NVC_WRITE,
		NVC_WRITE_ZEROES, NVC_DSM, NVC_FLUSH
	};
	struct nvc_cmd cmd = {
		.now = clock_ns += below(4) ? below(20000) : below(2000000),
		.slba = below(below(2) ? config.blocks : config.blocks / 8 + 1),
		.nsid = 1,
		.opcode = opcodes[below(sizeof(opcodes))],
		.flags = (below(8) ? 0 : NVC_FUA) | (below(4) ? NVC_DEALLOCATE : 0),
	};
	u32 i;

	cmd.nlb = 1 + below(below(4) ? 2 * unit_blocks() : below(4) ? 64 : 1500);
	cmd.nlb = nvc_min(cmd.nlb, config.blocks - cmd.slba);
	if (cmd.opcode != NVC_DSM)
		return cmd;
	cmd.nlb = 1 + below(4);
	for (i = 0; i < cmd.nlb; i++) {
		ranges[i].slba = below(config.blocks);
		ranges[i].nlb = below(config.blocks - ranges[i].slba + 1);
		if (below(3))
			ranges[i].nlb %= 4 * unit_blocks();
	}
	return cmd;
}

/* A Flush that is due keeps all that came before it. */
static void keep_all(u64 due)
{
	u64 lba;
	u32 i;

	for (lba = 0; lba < config.blocks; lba++)
		for (i = 0; i < HISTORY && i < told[lba]; i++)
			history[lba][i].kept = nvc_min(history[lba][i].kept, due);
}

static void follow(const struct nvc_cmd *cmd, const struct nvc_decision *d)
{
	bool kept = cmd->flags & NVC_FUA || !config.vwc || config.model.plp;
	u32 i;

	switch (cmd->opcode) {
	case NVC_WRITE:
		save(cmd, d->seq);
		tell(cmd->slba, cmd->nlb, d->seq, kept ? d->target : ~0ULL, false);
		break;
	case NVC_WRITE_ZEROES:
		tell(cmd->slba, cmd->nlb, d->seq, ~0ULL, true);
		break;
	case NVC_DSM:
		for (i = 0; cmd->flags & NVC_DEALLOCATE && i < cmd->nlb; i++)
			tell(ranges[i].slba, ranges[i].nlb, d->seq, ~0ULL, true);
		break;
	case NVC_FLUSH:
		if (config.vwc)
			keep_all(d->target);
	}
}

static void check_visible(const struct nvc *c)
{
	u64 lba;

	for (lba = 0; lba < config.blocks; lba++) {
		const struct word *w = &history[lba][(told[lba] + HISTORY - 1) % HISTORY];

		CHECK(visible(c, &content, lba) == (!told[lba] || w->zero ? 0 : w->seq));
	}
}

static void check_times(const struct nvc *c)
{
	u64 after[MAX_TIMES];
	u32 n = batch_times(c, NULL);
	u32 i;

	CHECK(n <= MAX_TIMES);
	batch_times(c, after);
	for (i = 0; i < n; i++)
		CHECK(after[i] >= times[i]);
	memcpy(times, after, n * sizeof(u64));
}

static void live_change(struct nvc *a, struct nvc *b)
{
	random_live(&config.model);
	CHECK(!nvc_set_model(a, clock_ns, &config.model));
	CHECK(!nvc_set_model(b, clock_ns, &config.model));
	if (below(2)) {
		nvc_reset(a, clock_ns);
		nvc_reset(b, clock_ns);
	} else {
		nvc_set_timing(a, clock_ns, &config.timing);
		nvc_set_timing(b, clock_ns, &config.timing);
	}
}

static void one_command(struct nvc *a, struct nvc *b)
{
	struct nvc_cmd cmd = random_cmd();
	struct nvc_decision d, twin;

	memset(&d, 0xa5, sizeof(d));
	memset(&twin, 0xa5, sizeof(twin));
	nvc_submit(a, &cmd, ranges, &d);
	nvc_submit(b, &cmd, ranges, &twin);
	CHECK(d.seq == twin.seq && d.target == twin.target && d.status == twin.status);
	CHECK(d.target >= cmd.now);
	commands[d.seq] = cmd;
	if (d.status) {
		CHECK(d.status == NVC_SC_READ_ONLY);
		commands[d.seq].opcode = NVC_FLUSH;
		return;
	}
	follow(&cmd, &d);
}

static void one_device(void)
{
	struct nvc *a, *b;

	memset(told, 0, sizeof(told));
	memset(&content, 0, sizeof(content));
	memset(commands, 0, sizeof(commands));
	memset(times, 0, sizeof(times));
	clock_ns = 0;
	random_config();
	a = make();
	b = make();
	while (nvc_seq(a) < COMMANDS - 2) {
		if (!below(40))
			live_change(a, b);
		one_command(a, b);
		check_times(a);
		if (!below(8))
			audit(a);
		if (!below(16))
			b = copy(b, true);
		if (!below(6))
			cut_copy(a, nvc_seq(a));
	}
	check_visible(a);
	audit(a);
	audit(b);
	free(a);
	free(b);
}

int main(int argc, char **argv)
{
	u64 rounds;

	CHECK(argc == 3);
	seed = strtoull(argv[1], NULL, 0);
	for (rounds = strtoull(argv[2], NULL, 0); rounds; rounds--) {
		round_seed = seed;
		one_device();
	}
	puts("ok");
	return 0;
}
