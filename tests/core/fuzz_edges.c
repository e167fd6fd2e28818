// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Throws configurations at the core that mean nothing, or are on the edge of
 * meaning something; those it takes must work. Then what each kind refuses.
 *
 * usage: fuzz_edges SEED ROUNDS
 */
#include "batch.h"
#include "image.h"

#define MAX_SIZE (16 << 20)
#define COMMANDS 40
#define MAX_LOST 20000

/* A value within the limits of a parameter, or just beyond, or of no kind at all. */
static u32 edge(const struct nvc_param *p)
{
	switch (below(40)) {
	case 0:
		return p->low - 1;
	case 1:
		return p->high + 1;
	case 2:
		return any();
	case 3:
		return p->high;
	case 4:
	case 5:
		return p->low;
	default:
		return p->low + below(nvc_min((u64)p->high - p->low, p->initial) + 1);
	}
}

static bool has_ssd(u32 kind)
{
	return kind == NVC_SSD || kind == NVC_ZNS || kind == NVC_KV;
}

/* Zones that there can be, most of them; there are hundred ways to say others. */
static void some_zones(struct nvc_model *m)
{
	m->zone_size = below(8) ? 64ULL << below(8) : 64 + below(1000);
	m->zone_capacity = below(2) ? 0 : below(8) ? 4 * below(m->zone_size / 4) : below(3000);
	m->zone_dies = below(8);
	m->zone_max_open = below(6);
	m->zone_max_active = below(8);
	m->zone_append = below(2) ? 0 : below(8) ? 8ULL << below(5) : below(20);
	m->zone_conventional = below(3);
	m->zrwa_zones = below(4);
	m->zrwa_flush = below(8) ? 4ULL << below(2) : below(10);
	m->zrwa_size = below(8) ? m->zrwa_flush * (1 + below(3)) : below(100);
}

static struct nvc_config random_config(void)
{
	struct nvc_config config = {
		.blocks = below(8) ? below(100000) : any() >> below(40),
		.kind = below(20) ? below(NVC_KINDS) : any(),
		.block_shift = below(8) ? (below(2) ? 9 : 12) : below(20),
		.vwc = below(2),
		.seed = any(),
		.timing.units = below(8) ? 8 : any(),
		.timing.unit_shift = below(8) ? 12 : below(40),
	};
	u32 many = below(4);
	u32 i;

	nvc_model_default(&config.model);
	for (i = 0; nvc_param(i); i++)
		if (below(4) < many)
			((u32 *)&config.model)[nvc_param(i)->offset / 4] = edge(nvc_param(i));
	if (below(2)) {
		config.model.pages = 0;
		config.model.page_size = 16384;
	}
	if (config.kind == NVC_SSD && below(2)) {
		config.model.fdp_handles = 1 + below(4);
		config.model.fdp_persistent = below(2);
	}
	if (config.kind == NVC_ZNS && below(16))
		some_zones(&config.model);
	if (config.kind == NVC_KV && below(16))
		config.model.kv_value = below(8) ? 1 + below(64) : below(3000);
	return config;
}

/* A snapshot is refused by a device that it is not of. */
static void check_misfit(const struct nvc_snapshot *snapshot, struct nvc_config other)
{
	size_t size = nvc_size(&other);
	struct nvc *c;

	if (!size || size > MAX_SIZE)
		return;
	c = make_device(&other);
	CHECK(nvc_fits(c, snapshot) == -EMEDIUMTYPE);
	CHECK(nvc_thaw(c, snapshot) == -EMEDIUMTYPE);
	free(c);
}

static void check_misfits(const struct nvc_snapshot *snapshot, const struct nvc_config *config)
{
	struct nvc_config other = *config;

	other.blocks++;
	check_misfit(snapshot, other);
	other = *config;
	other.kind = (config->kind + 1) % NVC_KINDS;
	check_misfit(snapshot, other);
	other = *config;
	other.block_shift = 21 - config->block_shift;
	check_misfit(snapshot, other);
	other = *config;
	other.seed++;
	check_misfit(snapshot, other);
	other = *config;
	other.vwc ^= 1;
	check_misfit(snapshot, other);
	other = *config;
	other.model.plp ^= 1;
	if (config->kind != NVC_NVM)
		check_misfit(snapshot, other);
}

static void check_snapshot(const struct nvc *c, const struct nvc_config *config)
{
	struct nvc_snapshot good, bad;
	u8 *image = save_image(c, &good);
	struct nvc *to = make_device(config);

	bad = good;
	bad.magic++;
	CHECK(nvc_fits(to, &bad) == -EINVAL);
	bad = good;
	bad.layout++;
	CHECK(nvc_fits(to, &bad) == -EINVAL);
	bad = good;
	bad.size++;
	CHECK(nvc_fits(to, &bad) == -EMEDIUMTYPE);
	check_misfits(&good, config);
	CHECK(!load_image(to, &good, image));
	nvc_freeze(to, &bad);
	CHECK(bad.checksum == good.checksum);
	nvc_wake(to, below(1 << 30));
	CHECK(nvc_seq(to) == nvc_seq(c) + 1);
	free(image);
	free(to);
}

static void check_queries(struct nvc *c, const struct nvc_config *config)
{
	struct nvc_model model = config->model;
	struct nvc_ssd_stats stats;
	struct nvc_health health;

	nvc_health(c, &health);
	CHECK(health.spare <= 100 && (health.spare == 100 || has_ssd(config->kind)));
	CHECK(!health.used || (model.endurance && has_ssd(config->kind)));
	nvc_stats(c, &stats);
	CHECK((stats.lines != 0) == (has_ssd(config->kind) &&
				     (config->kind != NVC_ZNS || model.zone_conventional)));
	CHECK((stats.zones != 0) == (config->kind == NVC_ZNS));
	CHECK(!nvc_undo_units(c) || config->kind == NVC_SSD || config->kind == NVC_ZNS);
	model.fw_read = 1;
	CHECK(nvc_set_model(c, 0, &model) == 0 || config->kind == NVC_NVM);
	model.gc_low = 0;
	CHECK(nvc_set_model(c, 0, &model) == -ERANGE || config->kind == NVC_NVM);
	model.channels++;
	CHECK(nvc_set_model(c, 0, &model) == -EBUSY);
}

/* Read, Write, Write Zeroes and Flush, from anywhere to anywhere inside the device; of any key. */
static void some_commands(struct nvc *c, const struct nvc_config *config)
{
	static const u8 opcodes[] = { NVC_READ, NVC_WRITE, NVC_WRITE, NVC_WRITE_ZEROES, NVC_FLUSH };
	u64 blocks = nvc_ns_get(c, 1)->blocks;
	u64 now = 0;
	u32 i;

	for (i = 0; i < COMMANDS; i++) {
		struct nvc_cmd cmd = {
			.now = now += below(1 << 20),
			.slba = below(blocks),
			.nsid = 1,
			.opcode = opcodes[below(sizeof(opcodes))],
			.flags = below(2) ? NVC_FUA : 0,
			.action = config->kind == NVC_KV ? below(18) : 0,
		};
		struct nvc_decision d;

		cmd.nlb = nvc_min(1 + below(2000), blocks - cmd.slba);
		nvc_submit(c, &cmd, NULL, &d);
		CHECK(!d.status || d.status == NVC_SC_READ_ONLY || config->kind >= NVC_ZNS);
		CHECK(d.target >= cmd.now);
	}
}

/* Pieces of the medium, none of them beyond its end or in another. */
static void check_namespaces(const struct nvc *c, const struct nvc_config *config)
{
	u64 largest, used = 0;
	u64 free = nvc_ns_free(c, &largest);
	u32 i, k;

	for (i = 1; i <= NVC_MAX_NS; i++) {
		const struct nvc_ns *a = nvc_ns_get(c, i);

		if (!a)
			continue;
		used += a->bytes;
		CHECK(a->start + a->bytes <= config->blocks << config->block_shift);
		CHECK(a->blocks << a->block_shift <= a->bytes);
		for (k = i + 1; k <= NVC_MAX_NS; k++) {
			const struct nvc_ns *b = nvc_ns_get(c, k);

			CHECK(!b || a->start >= b->start + b->bytes ||
			      b->start >= a->start + a->bytes);
		}
	}
	CHECK(largest <= free && used + free <= config->blocks << config->block_shift);
}

static u32 random_nsid(void)
{
	return below(16) ? below(6) : any() >> below(32);
}

static void change_namespace(struct nvc *c, const struct nvc_config *config, u64 now)
{
	struct nvc_ns_change change = {
		.op = below(NVC_NS_SWITCH + 2),
		.nsid = random_nsid(),
		.blocks = below(8) ? below(config->blocks / 2 + 1) : any(),
		.block_shift = below(8) ? (below(2) ? 9 : 12) : below(20),
		.value = below(8) ? below(4) : any(),
	};
	u64 seq = nvc_seq(c);
	int err = nvc_ns_change(c, now, &change);

	CHECK(!err || err == -EINVAL || err == -ENXIO || err == -EEXIST || err == -ENOSPC);
	CHECK(nvc_seq(c) == seq + !err);
	check_namespaces(c, config);
}

/* Of a write that was taken, every block reads as data; of one made unreadable, none reads. */
static void check_effect(const struct nvc *c, const struct nvc_cmd *cmd)
{
	bool written;

	if (nvc_ns_get(c, cmd->nsid)->flags & NVC_NS_KEYS)
		return;
	if (cmd->opcode == NVC_WRITE) {
		CHECK(nvc_run(c, cmd->nsid, cmd->slba, cmd->nlb, &written) == cmd->nlb && written);
		CHECK(nvc_readable(c, cmd->nsid, cmd->slba, cmd->nlb) == cmd->nlb);
	} else if (cmd->opcode == NVC_WRITE_ZEROES) {
		CHECK(nvc_run(c, cmd->nsid, cmd->slba, cmd->nlb, &written) == cmd->nlb && !written);
	} else if (cmd->opcode == NVC_WRITE_UNCOR) {
		CHECK(!nvc_readable(c, cmd->nsid, cmd->slba, cmd->nlb));
	}
}

/* Any command to any namespace, most of them valid. */
static void any_command(struct nvc *c, u64 now)
{
	static const u8 opcodes[] = {
		NVC_READ, NVC_WRITE, NVC_WRITE, NVC_WRITE_ZEROES, NVC_FLUSH, NVC_COMPARE,
		NVC_VERIFY, NVC_WRITE_UNCOR, NVC_DSM, NVC_COPY, 0x7f, NVC_ZONE_SEND,
		NVC_ZONE_RECEIVE, NVC_ZONE_APPEND, NVC_KV_LIST, NVC_KV_DELETE, NVC_KV_EXIST,
		NVC_IO_SEND, NVC_IO_SEND, NVC_IO_RECEIVE,
	};
	struct nvc_range ranges[4];
	struct nvc_cmd cmd = {
		.now = now,
		.nsid = random_nsid(),
		.opcode = opcodes[below(sizeof(opcodes))],
		.flags = below(32),
		.action = below(20),
		.option = below(11),
		.ctrl = below(8) ? 0 : below(40),
		.key = below(20),
		.nlb = 1 + below(300),
	};
	const struct nvc_ns *ns = nvc_ns_get(c, cmd.nsid);
	u64 blocks = ns ? ns->blocks : 1000;
	struct nvc_decision d;
	u32 i;

	cmd.slba = below(8) ? below(blocks) : any();
	if (cmd.opcode == NVC_DSM || cmd.opcode == NVC_COPY || cmd.opcode == NVC_IO_SEND)
		cmd.nlb = below(16) ? 1 + below(4) : 0;
	if (cmd.opcode == NVC_IO_SEND && below(4))
		cmd.action = NVC_RUH_UPDATE;
	for (i = 0; i < 4; i++) {
		ranges[i] = (struct nvc_range){ below(16) ? below(blocks) : any(), below(40) };
		if (cmd.opcode == NVC_IO_SEND)
			ranges[i].slba = below(8) ? below(2) : below(20);
	}
	nvc_submit(c, &cmd, below(16) ? ranges : NULL, &d);
	CHECK(d.target >= now && (!d.status || d.data == NVC_DATA_NONE));
	if (!d.status && !(d.fault & NVC_LOSES) && cmd.opcode != NVC_FLUSH)
		check_effect(c, &cmd);
}

/* A rule comes into force, or goes. */
static void change_rule(struct nvc *c, u64 now)
{
	struct nvc_rule rule = {
		.fault = below(16) ? 1ULL << below(7) : below(256),
		.every = below(4),
		.chance = below(8) ? NVC_MILLION : below(3) * NVC_MILLION,
		.count = below(4),
		.nsid = below(3),
		.opcode = below(8) ? NVC_ANY_OPCODE : below(0x200),
		.slba = below(8) ? below(1000) : any(),
		.nlb = below(2) ? below(1000) : 0,
		.status = below(4) ? NVC_SC_INVALID_FIELD : below(2) * 0x8000,
		.delay = below(4) ? below(5000) : 0,
	};
	int err = nvc_check_rule(&rule);

	CHECK(nvc_set_rule(c, now, below(NVC_MAX_RULES), &rule) == err);
	CHECK(!nvc_set_rule(c, now, below(NVC_MAX_RULES), NULL));
}

static void namespaces(struct nvc *c, const struct nvc_config *config)
{
	u64 now = 0;
	u32 i;

	for (i = 0; i < 2 * COMMANDS; i++) {
		now += below(1 << 20);
		if (!below(8))
			change_namespace(c, config, now);
		else
			any_command(c, now);
		if (!below(32))
			change_rule(c, now);
		if (!below(64))
			nvc_set_cache(c, now, below(34), below(2));
	}
	nvc_reset(c, now);
}

static void use(const struct nvc_config *config)
{
	static struct nvc_lost lost[MAX_LOST];
	size_t size = nvc_size(config);
	struct nvc *c;
	u64 ready;

	if (!size || size > MAX_SIZE)
		return;
	c = make_device(config);
	some_commands(c, config);
	if (has_ssd(config->kind))
		CHECK(!batch_audit(c));
	namespaces(c, config);
	if (has_ssd(config->kind))
		CHECK(!batch_audit(c));
	check_snapshot(c, config);
	if (nvc_undo_units(c) <= MAX_LOST)
		CHECK(nvc_cut(c, 0, lost, &ready) <= MAX_LOST);
	check_queries(c, config);
	free(c);
}

static void one_round(void)
{
	u32 i;

	for (i = 0; i < LONG_ROUND(12); i++) {
		struct nvc_config config = random_config();
		int err = nvc_check(&config);

		if (config.kind == NVC_ZNS && !err)
			CHECK(!nvc_zns_problem(&config));
		if (config.kind == NVC_KV && !err)
			CHECK(!nvc_kv_problem(&config));
		CHECK(!err || err == -EINVAL || err == -ERANGE);
		CHECK(!err == !!nvc_size(&config));
		use(&config);
	}
}
