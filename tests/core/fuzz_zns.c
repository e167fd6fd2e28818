// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Throws random commands at random small zoned SSDs, cuts their power at every
 * kind of moment, and compares with what each block was told last.
 *
 * As in fuzz_ssd.c one device lives, a twin is moved by snapshots and must
 * decide the same, and copies of the first have their power cut. Whether the
 * states of zones are right the tables of tests/unit/zoned.py say; here they
 * are what the device says, and must only fit the content.
 *
 * usage: fuzz_zns SEED ROUNDS
 */
#include "batch.h"
#include "fuzz.h"
#include "image.h"

#define MAX_ZONES 26
#define MAX_BLOCKS (MAX_ZONES * 1024)
#define MAX_UNDO 6000
#define COMMANDS 300

/* What is kept for sure: how far a zone holds data, and since when. */
struct promise {
	u64 upto;
	u64 due;
};

static struct nvc_config config;
static struct nvc_zoned zoned;
static struct nvc_range ranges[NVC_MAX_RANGES];
static u64 content[MAX_BLOCKS];
static struct promise promises[MAX_ZONES][COMMANDS + 1];
static u32 promised[MAX_ZONES];
static u64 clock_ns;

static void random_geometry(struct nvc_model *m)
{
	random_dies(m);
	m->pages = below(2) ? 0 : m->program_pages * (1 + below(4));
	m->blocks = m->pages ? 0 : 10 + below(60);
	m->buffer = below(200);
	m->zone_size = 64 << below(4);
	m->zone_capacity = below(2) ? 0 : 4 * (1 + below(m->zone_size / 4));
	m->zone_dies = below(2) ? 0 : 1 + below(m->channels * m->dies);
	m->zone_buffer = below(2) ? 0 : below(200);
	m->zone_conventional = below(2) ? 0 : 1 + below(2);
}

static void random_zones(struct nvc_model *m)
{
	m->zone_max_active = below(3) ? below(6) : 0;
	m->zone_max_open = below(3) ? below(5) : 0;
	m->zone_append = below(2) ? 0 : 8 << below(5);
	m->zone_extension = below(3);
	m->zone_read_across = below(2);
	m->zrwa_flush = 4 * (1 + below(4));
	m->zrwa_size = m->zrwa_flush * (1 + below(4));
	m->zrwa_zones = below(3);
}

static void random_live(struct nvc_model *m)
{
	static const u32 speeds[] = { 0, 50, 800, 100000 };

	m->suspend = below(2);
	m->suspend_time = below(20000);
	m->channel_speed = speeds[below(4)];
	m->link_speed = speeds[below(4)];
	m->erase = below(5000000);
	m->zone_finish = below(2);
	m->recovery = below(10);
	m->program_fail = below(6) ? 0 : below(30000);
	m->erase_fail = below(6) ? 0 : below(100000);
	m->endurance = below(4);
	m->gc_background = below(2) ? 0 : below(20);
}

static void random_config(void)
{
	do {
		u64 kib;

		memset(&config, 0, sizeof(config));
		nvc_model_default(&config.model);
		random_geometry(&config.model);
		random_zones(&config.model);
		random_live(&config.model);
		config.model.plp = !below(4);
		kib = (u64)config.model.zone_conventional * 1024;
		kib = (kib + 2047) / 2048 * 2048;
		kib += (1 + below(MAX_ZONES - 2)) * config.model.zone_size + below(32) * 4;
		config.kind = NVC_ZNS;
		config.block_shift = below(2) ? 9 : 12;
		config.blocks = kib << 10 >> config.block_shift;
		config.vwc = below(3) != 0;
		config.seed = any();
		config.timing.units = 1;
		config.timing.unit_shift = 12;
		CHECK(nvc_check(&config) != -EINVAL || nvc_zns_problem(&config));
	} while (nvc_check(&config));
}

static struct nvc *make(void)
{
	struct nvc *c = make_device(&config);

	CHECK(nvc_zoned(c, 1, &zoned) && !nvc_zoned(c, 2, &zoned));
	CHECK(zoned.zones <= MAX_ZONES && zoned.size * zoned.zones <= MAX_BLOCKS);
	CHECK(!nvc_ns_get(c, 2) == !config.model.zone_conventional);
	return c;
}

/* The same device in other memory. */
static struct nvc *copy(const struct nvc *c)
{
	struct nvc_snapshot snapshot;
	struct nvc *to = make_device(&config);
	u8 *image = save_image(c, &snapshot);

	CHECK(!load_image(to, &snapshot, image));
	free(image);
	return to;
}

static struct nvc *moved(struct nvc *c)
{
	struct nvc *to = copy(c);

	free(c);
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

static u64 visible(const struct nvc *c, u64 lba)
{
	bool written;

	nvc_run(c, 1, lba, 1, &written);
	return written ? content[lba] : 0;
}

/* Up to @upto, but in a random write area: that is kept, and not in front of the pointer. */
static void promise(const struct nvc *c, u64 slba, u64 upto, u64 due)
{
	u32 z = slba / zoned.size;
	struct nvc_zone zone;

	nvc_zone(c, z, &zone);
	upto = nvc_min(upto, zone.wp);
	promises[z][promised[z]++ % (COMMANDS + 1)] = (struct promise){ upto, due };
}

/* How far a zone must hold its data at @now. */
static u64 owed(u32 z, u64 now)
{
	u64 upto = 0;
	u32 i;

	for (i = 0; i < promised[z]; i++)
		if (promises[z][i].due <= now)
			upto = nvc_max(upto, promises[z][i].upto);
	return upto;
}

/* What is in front of the pointer is as it was, what is behind it is gone. */
static void check_rolled_back(const struct nvc *c, const struct nvc_zone *was, u32 z, u64 now)
{
	bool safe = config.model.plp || was->attributes & NVC_ZONE_HAS_ZRWA;
	struct nvc_zone is;
	u64 lba;

	nvc_zone(c, z, &is);
	CHECK(is.wp <= was->wp && is.wp >= owed(z, now));
	CHECK(is.wp == was->wp || !safe);
	CHECK((is.attributes ^ was->attributes) == 0);
	if (was->state >= NVC_ZONE_READ_ONLY)
		CHECK(is.state == was->state);
	else
		CHECK(is.state == (is.wp > is.start || is.attributes ? NVC_ZONE_CLOSED :
								       NVC_ZONE_EMPTY));
	for (lba = is.start; lba < is.start + zoned.size; lba++)
		CHECK(visible(c, lba) == (lba < is.wp || is.wp == was->wp ? content[lba] : 0));
}

static void cut_copy(const struct nvc *alive)
{
	static struct nvc_lost lost[MAX_UNDO];
	struct nvc *c = copy(alive);
	u64 now = clock_ns + (below(2) ? 0 : below(3000000));
	u64 ready;
	u32 z;

	CHECK(nvc_undo_units(c) <= MAX_UNDO);
	CHECK(nvc_cut(c, now, lost, &ready) <= nvc_undo_units(c) && ready >= now);
	audit(c);
	for (z = 0; z < zoned.zones; z++) {
		struct nvc_zone was;

		nvc_zone(alive, z, &was);
		check_rolled_back(c, &was, z, now);
	}
	free(c);
}

static u8 random_action(void)
{
	static const u8 actions[] = {
		NVC_ZONE_CLOSE, NVC_ZONE_FINISH, NVC_ZONE_OPEN, NVC_ZONE_OPEN, NVC_ZONE_RESET,
		NVC_ZONE_RESET, NVC_ZONE_TAKE_OFFLINE, NVC_ZONE_SET_EXTENSION,
		NVC_ZONE_FLUSH_ZRWA, NVC_ZONE_FLUSH_ZRWA,
	};

	return below(32) ? actions[below(sizeof(actions))] : any();
}

static void random_zone_cmd(struct nvc_cmd *cmd, const struct nvc_zone *zone)
{
	cmd->nlb = 0;
	cmd->slba = below(16) ? zone->start : below(16) ? zone->wp : any();
	if (cmd->opcode == NVC_ZONE_APPEND) {
		cmd->nlb = 1 + below(below(4) ? 20 : zoned.capacity);
		return;
	}
	if (cmd->opcode == NVC_ZONE_RECEIVE) {
		cmd->action = below(16) ? below(2) : any();
		cmd->option = below(16) ? below(10) : any();
		return;
	}
	cmd->action = random_action();
	if (cmd->action == NVC_ZONE_FLUSH_ZRWA && below(16))
		cmd->slba = zone->wp + nvc_max(1, zoned.zrwa_flush) * (1 + below(4)) - 1;
	if (below(16))
		cmd->flags &= ~NVC_ALL_ZONES;
}

/* One or two ranges that can be read, most of them. */
static void random_sources(struct nvc_cmd *cmd)
{
	u32 i;

	cmd->nlb = 1 + below(2);
	for (i = 0; i < cmd->nlb; i++)
		ranges[i] = (struct nvc_range){
			.slba = below(16) ? below(zoned.size * zoned.zones) : any(),
			.nlb = 1 + below(8),
		};
}

static struct nvc_cmd random_cmd(const struct nvc *c)
{
	static const u8 opcodes[] = {
		NVC_READ, NVC_WRITE, NVC_WRITE, NVC_WRITE, NVC_WRITE, NVC_ZONE_APPEND,
		NVC_ZONE_APPEND, NVC_ZONE_SEND, NVC_ZONE_SEND, NVC_ZONE_RECEIVE, NVC_FLUSH,
		NVC_WRITE_ZEROES, NVC_WRITE_UNCOR, NVC_COMPARE, NVC_VERIFY, NVC_DSM, NVC_COPY,
	};
	struct nvc_zone zone;
	struct nvc_cmd cmd = {
		.now = clock_ns += below(4) ? below(20000) : below(2000000),
		.nsid = 1,
		.opcode = opcodes[below(sizeof(opcodes))],
		.flags = any() & 31,
	};

	nvc_zone(c, below(zoned.zones), &zone);
	if (below(4))
		cmd.flags &= ~NVC_FUA;
	cmd.slba = below(8) ? zone.wp : below(zoned.size * zoned.zones);
	if (zone.attributes & NVC_ZONE_HAS_ZRWA)
		cmd.slba += below(2 * zoned.zrwa);
	cmd.nlb = 1 + below(below(4) ? 20 : zoned.capacity);
	if (!below(4))
		cmd.nlb = nvc_max(1, zone.start + zoned.capacity - zone.wp);
	if (cmd.opcode >= NVC_ZONE_SEND)
		random_zone_cmd(&cmd, &zone);
	else if (cmd.opcode == NVC_DSM || cmd.opcode == NVC_COPY)
		random_sources(&cmd);
	return cmd;
}

static void fill(u64 slba, u64 nlb, u64 value)
{
	CHECK(slba + nlb <= zoned.size * zoned.zones);
	for (; nlb; nlb--, slba++) {
		CHECK(slba % zoned.size < zoned.capacity);
		content[slba] = value;
	}
}

/* An append never meets what is there. */
static bool nothing_at(u64 slba, u64 nlb)
{
	for (; nlb; nlb--, slba++)
		if (content[slba])
			return false;
	return true;
}

/* What was told to blocks from @slba on is kept from when the command is due. */
static void told(const struct nvc *c, const struct nvc_cmd *cmd, u64 slba, u64 nlb,
		 const struct nvc_decision *d)
{
	if (cmd->flags & NVC_FUA || !config.vwc || config.model.plp)
		promise(c, slba, slba + nlb, d->target);
}

static void wrote(const struct nvc *c, const struct nvc_cmd *cmd, u64 slba,
		  const struct nvc_decision *d, u64 value)
{
	fill(slba, cmd->nlb, value);
	told(c, cmd, slba, cmd->nlb, d);
}

static void copied(const struct nvc *c, const struct nvc_cmd *cmd, const struct nvc_decision *d)
{
	u64 to = cmd->slba;
	u32 i;

	for (i = 0; i < cmd->nlb; i++) {
		u64 from = ranges[i].slba;
		u32 n;

		for (n = ranges[i].nlb; n; n--, from++, to++)
			fill(to, 1, content[from]);
	}
	told(c, cmd, cmd->slba, to - cmd->slba, d);
}

/* Every zone's data are kept from @due on. */
static void keep_all(const struct nvc *c, u64 due)
{
	struct nvc_zone zone;
	u32 z;

	for (z = 0; z < zoned.zones; z++) {
		nvc_zone(c, z, &zone);
		promise(c, zone.start, zone.wp, due);
	}
}

/* What was read with FUA is kept from @due on. */
static void keep_read(const struct nvc *c, const struct nvc_cmd *cmd, u64 due)
{
	u64 end = cmd->slba + cmd->nlb;
	u64 z;

	for (z = cmd->slba / zoned.size; cmd->flags & NVC_FUA && z * zoned.size < end; z++)
		promise(c, z * zoned.size, end, due);
}

/* What is empty now holds nothing; what was finished is kept. */
static void after_send(const struct nvc *c, const struct nvc_cmd *cmd, u64 due)
{
	struct nvc_zone zone;
	u32 z;

	for (z = 0; z < zoned.zones; z++) {
		nvc_zone(c, z, &zone);
		if (!(cmd->flags & NVC_ALL_ZONES) && cmd->slba / zoned.size != z)
			continue;
		if (cmd->action == NVC_ZONE_FINISH && !(cmd->flags & NVC_ALL_ZONES))
			promise(c, zone.start, zone.wp, due);
		if (cmd->action != NVC_ZONE_RESET || zone.wp > zone.start)
			continue;
		memset(content + zone.start, 0, zoned.size * sizeof(*content));
		promised[z] = 0;
	}
}

static bool listed(u8 option, u32 state)
{
	static const u8 states[] = { 0, 1, 2, 3, 4, 0xe, 0xd, 0xf };

	return !option || (option < 8 && states[option] == state);
}

static u64 number(const u8 *bytes)
{
	u64 value = 0;
	u32 i;

	for (i = 0; i < 8; i++)
		value |= (u64)bytes[i] << (8 * i);
	return value;
}

static void check_report(const struct nvc *c, const struct nvc_cmd *cmd)
{
	u32 each = 64 + (cmd->action ? zoned.extension : 0);
	u32 bytes = 4 * (1 + below(below(2) ? 16 : 1200));
	u8 *buffer = malloc(bytes);
	u32 filled = nvc_zone_report(c, cmd, buffer, bytes);
	u32 z, at = 64, matching = 0, told = 0;

	CHECK(buffer && filled <= bytes);
	for (z = cmd->slba / zoned.size; z < zoned.zones; z++) {
		struct nvc_zone zone;

		nvc_zone(c, z, &zone);
		if (!listed(cmd->option, zone.state))
			continue;
		matching++;
		if (at + each > bytes)
			continue;
		CHECK(buffer[at] == 2 && buffer[at + 1] >> 4 == zone.state);
		CHECK(number(buffer + at + 8) == zoned.capacity);
		CHECK(number(buffer + at + 16) == zone.start);
		at += each;
		told++;
	}
	CHECK(filled == nvc_min(at, bytes));
	if (bytes >= 8)
		CHECK(number(buffer) == (cmd->flags & NVC_PARTIAL ? told : matching));
	free(buffer);
}

static void follow(struct nvc *c, struct nvc *twin, const struct nvc_cmd *cmd,
		   const struct nvc_decision *d)
{
	u8 extension[255 * 64];

	switch (cmd->opcode) {
	case NVC_WRITE:
		wrote(c, cmd, cmd->slba, d, d->seq);
		break;
	case NVC_ZONE_APPEND:
		CHECK(nothing_at(d->result, cmd->nlb));
		wrote(c, cmd, d->result, d, d->seq);
		break;
	case NVC_WRITE_ZEROES:
		wrote(c, cmd, cmd->slba, d, 0);
		break;
	case NVC_WRITE_UNCOR:
		told(c, cmd, cmd->slba, cmd->nlb, d);
		break;
	case NVC_COPY:
		copied(c, cmd, d);
		break;
	case NVC_READ:
	case NVC_VERIFY:
	case NVC_COMPARE:
		keep_read(c, cmd, d->target);
		break;
	case NVC_FLUSH:
		if (config.vwc)
			keep_all(c, d->target);
		break;
	case NVC_ZONE_SEND:
		CHECK((d->data == NVC_DATA_EXTENSION) == (cmd->action == NVC_ZONE_SET_EXTENSION));
		after_send(c, cmd, d->target);
		memset(extension, any(), sizeof(extension));
		if (d->data == NVC_DATA_EXTENSION) {
			nvc_zone_extend(c, cmd, extension);
			nvc_zone_extend(twin, cmd, extension);
		}
		break;
	case NVC_ZONE_RECEIVE:
		CHECK(d->data == NVC_DATA_REPORT);
		check_report(c, cmd);
	}
}

static void check_visible(const struct nvc *c)
{
	u64 lba;

	for (lba = 0; lba < zoned.size * zoned.zones; lba++)
		CHECK(visible(c, lba) == content[lba]);
}

/* Something for the namespace without zones, which shares dies and buffer. */
static void other_namespace(struct nvc *a, struct nvc *b)
{
	const struct nvc_ns *ns = nvc_ns_get(a, 2);
	struct nvc_decision d, twin;
	struct nvc_cmd cmd = {
		.now = clock_ns += below(20000),
		.nsid = 2,
		.opcode = below(3) ? NVC_WRITE : below(8) ? NVC_READ : NVC_ZONE_APPEND,
		.nlb = 1 + below(30),
	};

	if (!ns)
		return;
	cmd.slba = below(ns->blocks - 30);
	nvc_submit(a, &cmd, NULL, &d);
	nvc_submit(b, &cmd, NULL, &twin);
	CHECK(d.target == twin.target && d.status == twin.status);
	CHECK(cmd.opcode != NVC_ZONE_APPEND || d.status == NVC_SC_INVALID_OPCODE);
}

static void live_change(struct nvc *a, struct nvc *b)
{
	struct nvc_ns_change change = {
		.op = below(2) ? NVC_NS_SWITCH : NVC_NS_CREATE + below(2), .nsid = 1 + below(3),
		.value = below(4),
	};
	u64 starts[NVC_ZONE_CHANGES];
	u32 n = nvc_zone_changes(a, starts, below(2));

	random_live(&config.model);
	CHECK(!nvc_set_model(a, clock_ns, &config.model));
	CHECK(!nvc_set_model(b, clock_ns, &config.model));
	CHECK(n == NVC_ZONE_CHANGES_MANY || n <= zoned.zones);
	CHECK(nvc_ns_change(a, clock_ns, &change) == nvc_ns_change(b, clock_ns, &change));
	change.op = NVC_NS_SWITCH;
	change.nsid = 1;
	change.value = 0;
	CHECK(!nvc_ns_change(a, clock_ns, &change) && !nvc_ns_change(b, clock_ns, &change));
	nvc_set_cache(a, clock_ns, 0, true);
	nvc_set_cache(b, clock_ns, 0, true);
}

static void one_command(struct nvc *a, struct nvc *b)
{
	struct nvc_cmd cmd = random_cmd(a);
	struct nvc_decision d, twin;

	memset(&d, 0xa5, sizeof(d));
	memset(&twin, 0xa5, sizeof(twin));
	nvc_submit(a, &cmd, ranges, &d);
	nvc_submit(b, &cmd, ranges, &twin);
	CHECK(d.seq == twin.seq && d.target == twin.target && d.status == twin.status);
	CHECK(d.result == twin.result && d.data == twin.data && d.target >= cmd.now);
	if (d.status)
		CHECK(d.data == NVC_DATA_NONE && !d.result && d.target == cmd.now);
	else
		follow(a, b, &cmd, &d);
}

static void format(struct nvc *a, struct nvc *b)
{
	struct nvc_ns_change change = {
		.op = NVC_NS_FORMAT, .nsid = 1, .block_shift = config.block_shift,
	};

	CHECK(!nvc_ns_change(a, clock_ns, &change) && !nvc_ns_change(b, clock_ns, &change));
	memset(content, 0, sizeof(content));
	memset(promised, 0, sizeof(promised));
}

static void one_round(void)
{
	struct nvc *a, *b;
	u32 i;

	memset(content, 0, sizeof(content));
	memset(promised, 0, sizeof(promised));
	clock_ns = 0;
	random_config();
	a = make();
	b = make();
	nvc_zoned(a, 1, &zoned);
	for (i = 0; i < LONG_ROUND(COMMANDS); i++) {
		if (!below(40))
			live_change(a, b);
		if (!below(150))
			format(a, b);
		if (!below(8))
			other_namespace(a, b);
		one_command(a, b);
		if (!below(8))
			audit(a);
		if (!below(16))
			b = moved(b);
		if (!below(6))
			cut_copy(a);
		if (!below(16))
			check_visible(a);
	}
	check_visible(a);
	audit(b);
	free(a);
	free(b);
}
