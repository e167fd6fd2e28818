// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Throws random commands at random small SSDs, cuts their power after each, and
 * compares with a list of what every block was ever told.
 *
 * Three devices get the same commands: one lives, and now and then through a
 * power cut; a twin is moved to other memory by snapshots now and then and must
 * decide the same; and a copy of the first, after each command, has its power
 * cut, to see what is left. Meant to be built with the sanitizers: devices have
 * exactly nvc_size() bytes, filled with rubbish. Every fourth is what a zoned
 * SSD has without zones, and its zones are written meanwhile: they share dies,
 * channels, link and buffer.
 *
 * usage: fuzz_ssd SEED ROUNDS
 */
#include "batch.h"
#include "drive.h"
#include "image.h"

#define MAX_BLOCKS 6000
#define MAX_UNDO 3000
#define COMMANDS LONG_ROUND(300)
#define HISTORY 24
#define MAX_TIMES 16
#define BLOCKS_OF_UNIT 8

/* What a block was told, 0 for nothing; by which command, and when that is sure to be kept. */
struct word {
	u64 seq;
	u64 kept;
	u64 value;
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
static u64 blocks; /* of the namespace in question, which begins the medium */
static u32 nsid;
static struct nvc_range ranges[NVC_MAX_RANGES];
static struct word history[MAX_BLOCKS][HISTORY];
static u32 told[MAX_BLOCKS];
static struct content content, after_cut;
static struct nvc_cmd commands[COMMANDS + 1];
static u64 clock_ns;
static u64 last_due;
static u64 times[MAX_TIMES];

static u32 unit_blocks(void)
{
	return 1 << (12 - config.block_shift);
}

/* Namespace 2 of a zoned device is as good an SSD as any. */
static void without_zones(void)
{
	struct nvc_config zoned = config;

	zoned.kind = NVC_ZNS;
	zoned.model.fdp_handles = 0;
	zoned.model.mapping_cache = 0;
	zoned.model.zone_conventional = 1 + below(config.block_shift == 9 ? 2 : 4);
	zoned.model.zone_size = 64 << below(4);
	zoned.model.zone_dies = 1;
	zoned.blocks = (8 << 20) >> config.block_shift;
	if (nvc_check(&zoned))
		return;
	config = zoned;
	blocks = (u64)config.model.zone_conventional << 20 >> config.block_shift;
	nsid = 2;
}

static void random_config(void)
{
	config = random_drive(MAX_BLOCKS);
	blocks = config.blocks;
	nsid = 1;
	if (!below(4))
		without_zones();
}

static struct nvc *make(void)
{
	struct nvc *c = make_device(&config);

	CHECK(nvc_undo_units(c) <= MAX_UNDO);
	return c;
}

/* The same device in other memory. */
static struct nvc *copy(const struct nvc *c)
{
	struct nvc *to = make();
	struct nvc_snapshot snapshot;
	u8 *image = save_image(c, &snapshot);
	u64 flip = below(snapshot.size);

	image[flip] ^= 1;
	CHECK(load_image(to, &snapshot, image) == -EBADMSG);
	image[flip] ^= 1;
	CHECK(!nvc_init(to, &config));
	CHECK(!load_image(to, &snapshot, image));
	free(image);
	return to;
}

static void check_health(const struct nvc *c)
{
	struct nvc_health health;

	nvc_health(c, &health);
	CHECK(health.spare <= 100 && (!health.used || config.model.endurance));
	CHECK(!health.read_only || !health.spare);
}

static void audit(const struct nvc *c)
{
	const char *wrong = batch_audit(c);

	check_health(c);

	if (wrong) {
		fprintf(stderr, "seed %llu: must hold: %s\n", round_seed, wrong);
		exit(1);
	}
}

static u64 visible(const struct nvc *c, const struct content *of, u64 lba)
{
	bool written;

	nvc_run(c, nsid, lba, 1, &written);
	return written ? of->data[lba] : 0;
}

static void tell(u64 slba, u64 nlb, u64 seq, u64 kept, u64 value)
{
	for (; nlb; nlb--, slba++)
		history[slba][told[slba]++ % HISTORY] = (struct word){
			.seq = seq, .kept = kept, .value = value,
		};
}

/* Keeps what a write overwrites, a unit at a time; a block gets the number of the write. */
static void save(u64 slba, u64 nlb, u64 seq)
{
	u64 end = slba + nlb;

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

		if (value == w->value)
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

/* Cuts the power, and brings @of to what is left. Returns when the device works again. */
static u64 cut(struct nvc *c, u64 now, struct content *of)
{
	static struct nvc_lost lost[MAX_UNDO];
	u64 ready;
	u32 n = nvc_cut(c, now, lost, &ready);
	u32 i;

	CHECK(ready >= now && n <= nvc_undo_units(c));
	CHECK(!config.model.plp || !n);
	audit(c);
	for (i = 0; i < n; i++)
		restore(of, &lost[i]);
	return ready;
}

static void cut_copy(const struct nvc *alive, u64 seq)
{
	struct nvc *c = copy(alive);
	u64 now = clock_ns + (below(2) ? 0 : below(3000000));
	u64 lba, i;

	if (!below(3))
		now = nvc_max(clock_ns, last_due);
	after_cut = content;
	cut(c, now, &after_cut);
	for (lba = 0; lba < blocks; lba++)
		check_block(c, lba, now);
	for (i = 1; i <= seq; i++)
		check_torn(c, i);
	free(c);
}

/* What every block holds after a cut is all it was ever told. */
static void begin_anew(const struct nvc *c)
{
	u64 lba;

	for (lba = 0; lba < blocks; lba++) {
		u64 value = visible(c, &content, lba);

		told[lba] = 1;
		history[lba][0] = (struct word){ .seq = value, .value = value };
	}
}

/* The power of the living is cut, and they go on. */
static void cut_alive(struct nvc *a, struct nvc *b)
{
	u64 now = clock_ns + below(3000000);

	after_cut = content;
	CHECK(cut(b, now, &after_cut) == cut(a, now, &content));
	clock_ns = now;
	begin_anew(a);
	batch_times(a, times);
}

/* From one half of the drive to the other; of a drive that has none, nothing at all. */
static struct nvc_cmd random_copy(struct nvc_cmd cmd)
{
	u64 half = blocks / 2;
	u64 up = below(2) * half;
	u64 most = nvc_min(half / 3, 64);
	u32 i;

	cmd.opcode = most ? NVC_COPY : NVC_FLUSH;
	if (!most)
		return cmd;
	cmd.nlb = 1 + below(3);
	cmd.slba = half - up + below(half - 3 * most + 1);
	for (i = 0; i < cmd.nlb; i++) {
		ranges[i].nlb = 1 + below(most);
		ranges[i].slba = up + below(half - ranges[i].nlb + 1);
	}
	return cmd;
}

static struct nvc_cmd random_cmd(void)
{
	static const u8 opcodes[] = {
		NVC_READ, NVC_VERIFY, NVC_WRITE, NVC_WRITE, NVC_WRITE, NVC_WRITE, NVC_WRITE,
		NVC_WRITE_ZEROES, NVC_DSM, NVC_FLUSH, NVC_COPY, NVC_COMPARE
	};
	struct nvc_cmd cmd = {
		.now = clock_ns += below(4) ? below(20000) : below(2000000),
		.slba = below(below(2) ? blocks : blocks / 8 + 1),
		.nsid = nsid,
		.opcode = opcodes[below(sizeof(opcodes))],
		.flags = (below(8) ? 0 : NVC_FUA) | (below(4) ? NVC_DEALLOCATE : 0),
	};
	u32 i;

	cmd.nlb = 1 + below(below(4) ? 2 * unit_blocks() : below(4) ? 64 : 1500);
	cmd.nlb = nvc_min(cmd.nlb, blocks - cmd.slba);
	random_place(&cmd, config.model.fdp_handles);
	if (config.model.fdp_handles && !below(16)) {
		random_update(&cmd, config.model.fdp_handles, ranges);
		return cmd;
	}
	if (cmd.opcode == NVC_COPY)
		return random_copy(cmd);
	if (cmd.opcode != NVC_DSM)
		return cmd;
	cmd.nlb = 1 + below(4);
	for (i = 0; i < cmd.nlb; i++) {
		ranges[i].slba = below(blocks);
		ranges[i].nlb = below(blocks - ranges[i].slba + 1);
		if (below(3))
			ranges[i].nlb %= 4 * unit_blocks();
	}
	return cmd;
}

/* A Flush that is due keeps all that came before it, and what reads with FUA its blocks. */
static void keep(u64 lba, u64 nlb, u64 due)
{
	u64 end = lba + nlb;
	u32 i;

	for (; lba < end; lba++)
		for (i = 0; i < HISTORY && i < told[lba]; i++)
			history[lba][i].kept = nvc_min(history[lba][i].kept, due);
}

/* What a block was told last. */
static u64 latest(u64 lba)
{
	return told[lba] ? history[lba][(told[lba] - 1) % HISTORY].value : 0;
}

/* Stretches with data are written, the others deallocated. */
static void copy_blocks(u64 to, u32 sources, u64 seq, u64 due, u64 kept)
{
	u32 i, n;

	for (i = 0; i < sources; i++) {
		u64 from = ranges[i].slba;
		u64 end = from + ranges[i].nlb;

		for (; from < end; from += n, to += n) {
			bool data = latest(from);

			for (n = 0; from + n < end && !!latest(from + n) == data; n++)
				tell(to + n, 1, seq, data ? kept : due, latest(from + n));
			if (!data)
				continue;
			save(to, n, seq);
			memcpy(content.data + to, content.data + from, n * sizeof(u64));
		}
	}
}

static void follow(const struct nvc_cmd *cmd, const struct nvc_decision *d)
{
	bool kept = cmd->flags & NVC_FUA || !config.vwc || config.model.plp;
	u32 i;

	switch (cmd->opcode) {
	case NVC_WRITE:
		save(cmd->slba, cmd->nlb, d->seq);
		tell(cmd->slba, cmd->nlb, d->seq, kept ? d->target : ~0ULL, d->seq);
		break;
	case NVC_COPY:
		copy_blocks(cmd->slba, cmd->nlb, d->seq, d->target, kept ? d->target : ~0ULL);
		break;
	case NVC_WRITE_ZEROES:
		tell(cmd->slba, cmd->nlb, d->seq, d->target, 0);
		break;
	case NVC_DSM:
		for (i = 0; cmd->flags & NVC_DEALLOCATE && i < cmd->nlb; i++)
			tell(ranges[i].slba, ranges[i].nlb, d->seq, d->target, 0);
		break;
	case NVC_READ:
	case NVC_VERIFY:
	case NVC_COMPARE:
		if (cmd->flags & NVC_FUA)
			keep(cmd->slba, cmd->nlb, d->target);
		break;
	case NVC_FLUSH:
		if (config.vwc)
			keep(0, blocks, d->target);
	}
}

static void check_visible(const struct nvc *c)
{
	u64 lba;

	for (lba = 0; lba < blocks; lba++) {
		const struct word *w = &history[lba][(told[lba] + HISTORY - 1) % HISTORY];

		CHECK(visible(c, &content, lba) == (told[lba] ? w->value : 0));
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

/* What is told of a handle. */
static void tell_events(struct nvc *a, struct nvc *b)
{
	struct nvc_ns_change change = {
		.op = NVC_NS_EVENTS, .nsid = nsid, .blocks = below(7), .value = below(9),
	};
	struct nvc_fdp_event events[NVC_FDP_EVENTS];
	u32 handles = config.kind == NVC_SSD ? config.model.fdp_handles : 0;
	bool valid = change.blocks < handles && change.value <= NVC_TELL_ALL;
	u32 i, n;

	CHECK(nvc_ns_change(a, clock_ns, &change) == (valid ? 0 : -EINVAL));
	nvc_ns_change(b, clock_ns, &change);
	for (i = 0; handles && i < 2; i++) {
		n = nvc_fdp_events(a, i, events);
		CHECK(n <= NVC_FDP_EVENTS);
		while (n--)
			CHECK(events[n].time <= clock_ns && events[n].ruh < handles);
	}
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

/* Whether blocks ever turn bad: no other drive comes to its end. */
static bool wears(void)
{
	const struct nvc_model *m = &config.model;

	return m->bad_factory || m->erase_fail || m->program_fail;
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
	last_due = d.target;
	commands[d.seq] = cmd;
	if (d.status) {
		CHECK(d.status == NVC_SC_READ_ONLY && wears());
		commands[d.seq].opcode = NVC_FLUSH;
		return;
	}
	follow(&cmd, &d);
}

/* Appends to a zone until it is full, then begins anew. */
static void use_zones(struct nvc *a, struct nvc *b)
{
	struct nvc_cmd cmd = {
		.now = clock_ns, .nsid = 1, .opcode = NVC_ZONE_APPEND, .nlb = 1 + below(60),
		.flags = below(8) ? 0 : NVC_FUA,
	};
	struct nvc_zoned zoned;
	struct nvc_decision d, twin;

	nvc_zoned(a, 1, &zoned);
	cmd.slba = below(2) * zoned.size;
	nvc_submit(a, &cmd, NULL, &d);
	nvc_submit(b, &cmd, NULL, &twin);
	CHECK(d.target == twin.target && d.status == twin.status && d.result == twin.result);
	commands[d.seq].opcode = NVC_FLUSH;
	if (!d.status)
		return;
	cmd.opcode = NVC_ZONE_SEND;
	cmd.action = NVC_ZONE_RESET;
	nvc_submit(a, &cmd, NULL, &d);
	nvc_submit(b, &cmd, NULL, &twin);
	CHECK(d.target == twin.target && d.status == twin.status);
	commands[d.seq].opcode = NVC_FLUSH;
}

static void one_round(void)
{
	struct nvc *a, *b;

	memset(told, 0, sizeof(told));
	memset(&content, 0, sizeof(content));
	memset(commands, 0, sizeof(commands));
	memset(times, 0, sizeof(times));
	clock_ns = 0;
	last_due = 0;
	random_config();
	a = make();
	b = make();
	while (nvc_seq(a) < COMMANDS - 5) {
		if (config.kind == NVC_ZNS && !below(3))
			use_zones(a, b);
		if (!below(40))
			live_change(a, b);
		if (!below(40))
			tell_events(a, b);
		one_command(a, b);
		check_times(a);
		if (!below(8))
			audit(a);
		if (!below(16)) {
			struct nvc *moved = copy(b);

			free(b);
			b = moved;
		}
		if (EACH_STEP)
			cut_copy(a, nvc_seq(a));
		if (!below(60))
			cut_alive(a, b);
	}
	check_visible(a);
	audit(a);
	audit(b);
	free(a);
	free(b);
}
