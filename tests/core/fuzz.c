// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Throws random commands, most of them near an edge, at the core, and compares
 * with a map of one byte per block. Meant to be built with the sanitizers:
 * the device has exactly nvc_size() bytes, filled with rubbish beforehand.
 * Every other device has fault rules, most of them refused.
 *
 * usage: fuzz SEED ROUNDS
 */
#include <errno.h>

#include "fuzz.h"

#define MAX_DEVICE_BLOCKS 20000
#define COMMANDS LONG_ROUND(400)

static struct nvc_config config;
static u8 content[MAX_DEVICE_BLOCKS];
static u8 bad[MAX_DEVICE_BLOCKS];
static struct nvc_range ranges[NVC_MAX_RANGES];
static u64 clock_ns;
static u64 work_ns; /* more than all commands so far can have cost */

static u64 random_lba(void)
{
	switch (below(8)) {
	case 0:
		return any();
	case 1:
		return config.blocks - below(3);
	case 2:
		return below(config.blocks / 4096 + 1) * 4096;
	default:
		return below(config.blocks);
	}
}

static u32 random_nlb(void)
{
	switch (below(8)) {
	case 0:
		return any();
	case 1:
		return 4095 + below(3);
	case 2:
		return config.blocks;
	default:
		return below(300);
	}
}

static struct nvc_cmd random_cmd(void)
{
	static const u8 opcodes[] = {
		NVC_READ, NVC_READ, NVC_WRITE, NVC_WRITE, NVC_WRITE,
		NVC_WRITE_ZEROES, NVC_DSM, NVC_FLUSH, NVC_COMPARE, NVC_VERIFY,
		NVC_WRITE_UNCOR, NVC_COPY, NVC_COPY
	};
	static const u32 namespaces[] = { 0, 2, NVC_MAX_NS + 1, NVC_ALL_NS };
	struct nvc_cmd cmd = {
		.now = clock_ns += below(10000),
		.slba = random_lba(),
		.nlb = random_nlb(),
		.nsid = below(16) ? 1 : namespaces[below(4)],
		.opcode = below(32) ? opcodes[below(sizeof(opcodes))] : any(),
		.flags = any(),
	};
	u32 i;

	if (cmd.opcode == NVC_DSM || cmd.opcode == NVC_COPY)
		cmd.nlb = below(8) ? below(5) : below(NVC_MAX_RANGES + 2);
	for (i = 0; i < NVC_MAX_RANGES; i++)
		ranges[i] = (struct nvc_range){ .slba = random_lba(), .nlb = random_nlb() };
	return cmd;
}

static bool inside(u64 slba, u64 nlb)
{
	return slba <= config.blocks && slba + nlb >= slba && slba + nlb <= config.blocks;
}

static bool good_blocks(u64 slba, u64 nlb)
{
	for (; nlb; nlb--, slba++)
		if (bad[slba])
			return false;
	return true;
}

static bool valid_copy(const struct nvc_cmd *cmd)
{
	u64 total = 0;
	u32 i;

	if (!cmd->nlb || cmd->nlb > NVC_MAX_SOURCES)
		return false;
	for (i = 0; i < cmd->nlb; i++) {
		if (!ranges[i].nlb || !inside(ranges[i].slba, ranges[i].nlb))
			return false;
		total += ranges[i].nlb;
	}
	if (total << config.block_shift > 1 << NVC_COPY_SHIFT || !inside(cmd->slba, total))
		return false;
	for (i = 0; i < cmd->nlb; i++) {
		if (ranges[i].slba < cmd->slba + total &&
		    cmd->slba < ranges[i].slba + ranges[i].nlb)
			return false;
		if (!good_blocks(ranges[i].slba, ranges[i].nlb))
			return false;
	}
	return true;
}

static bool reads(const struct nvc_cmd *cmd)
{
	return cmd->opcode == NVC_READ || cmd->opcode == NVC_COMPARE || cmd->opcode == NVC_VERIFY;
}

static bool valid(const struct nvc_cmd *cmd)
{
	bool good = cmd->nlb >= 1 && cmd->nlb <= NVC_MAX_RANGES;
	u32 i;

	if (cmd->opcode == NVC_FLUSH)
		return cmd->nsid == 1 || cmd->nsid == NVC_ALL_NS;
	if (cmd->nsid != 1)
		return false;
	if (cmd->opcode == NVC_DSM) {
		for (i = 0; good && i < cmd->nlb; i++)
			good = inside(ranges[i].slba, ranges[i].nlb);
		return good;
	}
	if (cmd->opcode == NVC_COPY)
		return valid_copy(cmd);
	if (!reads(cmd) && cmd->opcode != NVC_WRITE && cmd->opcode != NVC_WRITE_ZEROES &&
	    cmd->opcode != NVC_WRITE_UNCOR)
		return false;
	return cmd->nlb >= 1 && cmd->nlb <= NVC_MAX_BLOCKS && inside(cmd->slba, cmd->nlb) &&
	       (!reads(cmd) || good_blocks(cmd->slba, cmd->nlb));
}

static void fill(u64 slba, u64 nlb, u8 value)
{
	CHECK(inside(slba, nlb));
	memset(content + slba, value, nlb);
	memset(bad + slba, 0, nlb);
}

static void check_content(struct nvc *c, u64 slba, u64 nlb)
{
	CHECK(inside(slba, nlb));
	while (nlb) {
		bool written;
		u32 n = nvc_run(c, 1, slba, nlb, &written);
		u32 i;

		CHECK(n >= 1 && n <= nlb);
		for (i = 0; i < n; i++)
			CHECK(content[slba + i] == written);
		CHECK(n == nlb || content[slba + n] != written);
		slba += n;
		nlb -= n;
	}
}

static void check_readable(struct nvc *c)
{
	u32 at = 0;

	while (at < config.blocks) {
		u32 n = nvc_readable(c, 1, at, config.blocks - at);

		CHECK(n <= config.blocks - at && good_blocks(at, n));
		at += n;
		CHECK(at == config.blocks || bad[at]);
		at++;
	}
}

static void copy(const struct nvc_cmd *cmd, u16 data)
{
	u64 to = cmd->slba;
	bool fresh = false;
	u32 i;

	for (i = 0; i < cmd->nlb; i++) {
		u64 from = ranges[i].slba;
		u32 n;

		for (n = ranges[i].nlb; n; n--, from++, to++) {
			fresh |= content[from] && !content[to];
			fill(to, 1, content[from]);
		}
	}
	CHECK(data == (fresh ? NVC_DATA_FRESH : NVC_DATA_COPY));
}

static void check_read(struct nvc *c, const struct nvc_cmd *cmd, u16 data)
{
	u64 held = 0;
	u32 i;

	for (i = 0; i < cmd->nlb; i++)
		held += content[cmd->slba + i];
	CHECK(data == (!held ? NVC_DATA_ZERO : held == cmd->nlb ? NVC_DATA_COPY : NVC_DATA_MIXED));
	check_content(c, cmd->slba, cmd->nlb);
}

static void follow(struct nvc *c, const struct nvc_cmd *cmd, u16 data)
{
	u32 i;

	switch (cmd->opcode) {
	case NVC_READ:
	case NVC_COMPARE:
		check_read(c, cmd, data);
		break;
	case NVC_WRITE:
		for (i = 0; i < cmd->nlb && content[cmd->slba + i]; i++)
			;
		CHECK(data == (i < cmd->nlb ? NVC_DATA_FRESH : NVC_DATA_COPY));
		fill(cmd->slba, cmd->nlb, 1);
		break;
	case NVC_WRITE_UNCOR:
		memset(bad + cmd->slba, 1, cmd->nlb);
		break;
	case NVC_VERIFY:
		CHECK(data == NVC_DATA_NONE);
		break;
	case NVC_COPY:
		copy(cmd, data);
		break;
	case NVC_WRITE_ZEROES:
		fill(cmd->slba, cmd->nlb, 0);
		break;
	case NVC_DSM:
		for (i = 0; i < cmd->nlb; i++) {
			CHECK(inside(ranges[i].slba, ranges[i].nlb));
			if (cmd->flags & NVC_DEALLOCATE)
				fill(ranges[i].slba, ranges[i].nlb, 0);
		}
		break;
	default:
		CHECK(cmd->opcode == NVC_FLUSH);
	}
}

/* Of a valid command, at most. */
static u64 cost(const struct nvc_cmd *cmd)
{
	const struct nvc_timing *t = &config.timing;
	u64 units = cmd->nlb + 1;
	u64 commands = 1;
	u32 i;

	if (cmd->opcode == NVC_COPY) {
		commands += cmd->nlb;
		for (i = 0; i < cmd->nlb; i++)
			units += 2 * (ranges[i].nlb + 1);
	}
	return ((u64)t->read_delay + t->write_delay) * commands +
	       ((u64)t->read_time + t->write_time) * units;
}

static struct nvc_timing random_timing(void)
{
	return (struct nvc_timing){
		.read_delay = below(20000),
		.read_time = below(5000),
		.write_delay = below(20000),
		.write_time = below(4) ? below(5000) : any(),
		.units = below(4) ? 1 + below(9) : NVC_MAX_UNITS,
		.unit_shift = config.block_shift + below(6),
	};
}

/* What it may say is left to the core; what it does is checked where it hits. */
static struct nvc_rule random_rule(void)
{
	struct nvc_rule rule = {
		.slba = random_lba(),
		.nlb = below(2) ? random_nlb() : 0,
		.delay = below(8) ? below(5000) : any(),
		.count = below(4),
		.every = below(4),
		.chance = below(NVC_MILLION + 2),
		.nsid = below(3),
		.opcode = below(2) ? NVC_ANY_OPCODE : below(16),
		.qid = below(3),
		.status = below(8) ? 0x4281 : any(),
		.fault = below(16) ? 1ULL << below(7) : any(),
		.ctrl = below(3),
	};

	return rule;
}

static void change_rules(struct nvc *c)
{
	struct nvc_rule rule = random_rule();
	u64 seq = nvc_seq(c);
	int err = nvc_check_rule(&rule);

	CHECK(nvc_set_rule(c, clock_ns, NVC_MAX_RULES, &rule) == -EINVAL);
	CHECK(nvc_set_rule(c, clock_ns, below(NVC_MAX_RULES), &rule) == err);
	CHECK(nvc_seq(c) == seq + !err);
	CHECK(!nvc_rule_hits(c, NVC_MAX_RULES) && nvc_rule_hits(c, 0) <= seq);
	if (!below(4))
		CHECK(!nvc_set_rule(c, clock_ns, below(NVC_MAX_RULES), NULL));
}

/* The status is the command's own, or a rule's; a corrupted byte is the command's. */
static void check_fault(const struct nvc_cmd *cmd, const struct nvc_decision *d)
{
	CHECK(valid(cmd) && d->fault < 2 * NVC_UNPLUG);
	if (d->fault & NVC_LOSES)
		CHECK(!d->status && d->data == NVC_DATA_NONE);
	else
		CHECK(!!(d->fault & NVC_FAIL) <= !!d->status);
	CHECK(!d->corrupt || d->fault & NVC_CORRUPT);
	CHECK(d->corrupt < (u64)cmd->nlb << config.block_shift || !d->corrupt);
}

static void live_change(struct nvc *c)
{
	struct nvc_ns_change format = {
		.op = NVC_NS_FORMAT, .nsid = 1, .block_shift = config.block_shift,
	};

	switch (below(3)) {
	case 0:
		nvc_reset(c, clock_ns);
		return;
	case 1:
		CHECK(!nvc_ns_change(c, clock_ns, &format));
		fill(0, config.blocks, 0);
		return;
	}
	config.timing = random_timing();
	CHECK(!nvc_set_timing(c, clock_ns, &config.timing));
}

static void one_command(struct nvc *c)
{
	u64 seq = nvc_seq(c) + 1;
	struct nvc_cmd cmd = random_cmd();
	struct nvc_decision decision;

	memset(&decision, 0xa5, sizeof(decision));
	nvc_submit(c, &cmd, ranges, &decision);
	CHECK(decision.seq == seq && seq == nvc_seq(c));
	if (decision.fault) {
		check_fault(&cmd, &decision);
		if (!decision.status && !(decision.fault & NVC_LOSES))
			follow(c, &cmd, decision.data);
		work_ns += cost(&cmd) + decision.target - cmd.now;
		return;
	}
	CHECK(valid(&cmd) == !decision.status);
	if (decision.status) {
		CHECK(decision.target == cmd.now && decision.data == NVC_DATA_NONE);
		return;
	}
	work_ns += cost(&cmd);
	CHECK(decision.target >= cmd.now && decision.target <= cmd.now + work_ns);
	follow(c, &cmd, decision.data);
}

static void one_round(void)
{
	struct nvc *c;
	bool faulty = below(2);
	u32 i;

	memset(content, 0, sizeof(content));
	memset(bad, 0, sizeof(bad));
	clock_ns = 0;
	work_ns = 0;
	config = (struct nvc_config){
		.blocks = 1 + below(MAX_DEVICE_BLOCKS),
		.block_shift = below(2) ? 9 : 12,
		.seed = any(),
		.vwc = below(2),
	};
	config.timing = random_timing();
	c = malloc(nvc_size(&config));
	CHECK(c);
	memset(c, 0xa5, nvc_size(&config));
	CHECK(!nvc_init(c, &config));
	for (i = 0; i < COMMANDS; i++) {
		if (!below(50))
			live_change(c);
		if (faulty && !below(20))
			change_rules(c);
		one_command(c);
	}
	check_content(c, 0, config.blocks);
	check_readable(c);
	free(c);
}
