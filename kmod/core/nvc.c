// SPDX-License-Identifier: GPL-2.0-or-later
/* What all kinds share: checks, status, the map of what was written, counters. */
#include "internal.h"

static const struct nvc_media *const kinds[NVC_KINDS] = {
	[NVC_NVM] = &nvc_nvm,
};

static int check_timing(const struct nvc_timing *t, u32 block_shift)
{
	if (!t->units || t->unit_shift < block_shift)
		return -EINVAL;
	if (t->units > NVC_MAX_UNITS || t->unit_shift > NVC_MAX_UNIT_SHIFT)
		return -ERANGE;
	return 0;
}

int nvc_check(const struct nvc_config *config)
{
	if (config->kind >= NVC_KINDS || !config->blocks || config->vwc > 1)
		return -EINVAL;
	if (config->block_shift != 9 && config->block_shift != 12)
		return -EINVAL;
	if (config->blocks > 1ULL << (NVC_MAX_BYTES_SHIFT - config->block_shift))
		return -ERANGE;
	return check_timing(&config->timing, config->block_shift);
}

size_t nvc_size(const struct nvc_config *config)
{
	if (nvc_check(config))
		return 0;
	return sizeof(struct nvc) + kinds[config->kind]->size(config) +
	       nvc_written_size(config->blocks);
}

int nvc_init(struct nvc *c, const struct nvc_config *config)
{
	u8 *memory = (u8 *)(c + 1);
	int err = nvc_check(config);

	if (err)
		return err;
	memset(c, 0, sizeof(*c));
	c->config = *config;
	c->media = kinds[config->kind];
	c->state = memory;
	nvc_written_init(&c->written, memory + c->media->size(config), config->blocks);
	c->media->reset(c);
	return 0;
}

/* An input arrives: it gets the next number, and time does not run backwards. */
static void arrive(struct nvc *c, u64 now)
{
	c->now = nvc_max(c->now, now);
	c->seq++;
}

static u16 check_blocks(const struct nvc *c, u64 slba, u32 nlb)
{
	if (slba > c->config.blocks || nlb > c->config.blocks - slba)
		return NVC_SC_LBA_RANGE;
	return NVC_SC_SUCCESS;
}

static u16 check_ranges(const struct nvc *c, const struct nvc_range *ranges, u32 count)
{
	u16 status = NVC_SC_SUCCESS;
	u32 i;

	if (!ranges || !count || count > NVC_MAX_RANGES)
		return NVC_SC_INVALID_FIELD;
	for (i = 0; i < count && !status; i++)
		status = check_blocks(c, ranges[i].slba, ranges[i].nlb);
	return status;
}

static u16 check_arguments(const struct nvc *c, const struct nvc_cmd *cmd,
			   const struct nvc_range *ranges)
{
	switch (cmd->opcode) {
	case NVC_FLUSH:
		return NVC_SC_SUCCESS;
	case NVC_READ:
	case NVC_WRITE:
	case NVC_WRITE_ZEROES:
		if (!cmd->nlb || cmd->nlb > NVC_MAX_BLOCKS)
			return NVC_SC_INVALID_FIELD;
		return check_blocks(c, cmd->slba, cmd->nlb);
	case NVC_DSM:
		return check_ranges(c, ranges, cmd->nlb);
	default:
		return NVC_SC_INVALID_OPCODE;
	}
}

static u16 check_cmd(const struct nvc *c, const struct nvc_cmd *cmd,
		     const struct nvc_range *ranges)
{
	bool broadcast = cmd->opcode == NVC_FLUSH && cmd->nsid == NVC_ALL_NS;
	u16 status = check_arguments(c, cmd, ranges);

	if (cmd->nsid != 1 && !broadcast && status != NVC_SC_INVALID_OPCODE)
		return NVC_SC_INVALID_NS;
	return status;
}

static u16 read_blocks(struct nvc *c, const struct nvc_cmd *cmd)
{
	bool written;

	c->counters.reads++;
	c->counters.blocks_read += cmd->nlb;
	if (nvc_written_run(&c->written, cmd->slba, cmd->nlb, &written) < cmd->nlb)
		return NVC_DATA_MIXED;
	return written ? NVC_DATA_COPY : NVC_DATA_ZERO;
}

static u16 write_blocks(struct nvc *c, const struct nvc_cmd *cmd)
{
	c->counters.writes++;
	c->counters.blocks_written += cmd->nlb;
	nvc_written_set(&c->written, cmd->slba, cmd->nlb);
	return NVC_DATA_COPY;
}

static u16 zero_blocks(struct nvc *c, const struct nvc_cmd *cmd)
{
	c->counters.zeroes++;
	c->counters.blocks_zeroed += cmd->nlb;
	nvc_written_clear(&c->written, cmd->slba, cmd->nlb);
	return NVC_DATA_NONE;
}

static u16 deallocate(struct nvc *c, const struct nvc_cmd *cmd,
		      const struct nvc_range *ranges)
{
	u32 i;

	c->counters.dsms++;
	if (!(cmd->flags & NVC_DEALLOCATE))
		return NVC_DATA_NONE;
	for (i = 0; i < cmd->nlb; i++) {
		c->counters.blocks_deallocated += ranges[i].nlb;
		nvc_written_clear(&c->written, ranges[i].slba, ranges[i].nlb);
	}
	return NVC_DATA_NONE;
}

/* The effect of a valid command on content and counters. */
static u16 carry_out(struct nvc *c, const struct nvc_cmd *cmd,
		     const struct nvc_range *ranges)
{
	switch (cmd->opcode) {
	case NVC_READ:
		return read_blocks(c, cmd);
	case NVC_WRITE:
		return write_blocks(c, cmd);
	case NVC_WRITE_ZEROES:
		return zero_blocks(c, cmd);
	case NVC_DSM:
		return deallocate(c, cmd, ranges);
	default:
		c->counters.flushes++;
		return NVC_DATA_NONE;
	}
}

void nvc_submit(struct nvc *c, const struct nvc_cmd *cmd,
		const struct nvc_range *ranges, struct nvc_decision *decision)
{
	arrive(c, cmd->now);
	memset(decision, 0, sizeof(*decision));
	decision->seq = c->seq;
	decision->target = c->now;
	decision->status = check_cmd(c, cmd, ranges);
	if (c->rules.set && !decision->status)
		nvc_rules_apply(c, cmd, ranges, decision);
	if (decision->status) {
		c->counters.errors++;
		return;
	}
	if (decision->fault & NVC_LOSES)
		return;
	/* so far this was what rules add */
	decision->target += c->media->target(c, cmd, ranges) - c->now;
	decision->data = carry_out(c, cmd, ranges);
}

u32 nvc_run(const struct nvc *c, u64 slba, u32 nlb, bool *written)
{
	return nvc_written_run(&c->written, slba, nlb, written);
}

int nvc_set_timing(struct nvc *c, u64 now, const struct nvc_timing *timing)
{
	int err = check_timing(timing, c->config.block_shift);

	if (err)
		return err;
	arrive(c, now);
	c->config.timing = *timing;
	return 0;
}

void nvc_reset(struct nvc *c, u64 now)
{
	arrive(c, now);
	c->media->reset(c);
}

int nvc_set_rule(struct nvc *c, u64 now, u32 slot, const struct nvc_rule *rule)
{
	int err = nvc_rules_set(c, slot, rule);

	if (!err)
		arrive(c, now);
	return err;
}

u64 nvc_rule_hits(const struct nvc *c, u32 slot)
{
	return slot < NVC_MAX_RULES ? c->rules.slots[slot].hits : 0;
}

u64 nvc_seq(const struct nvc *c)
{
	return c->seq;
}

void nvc_count(const struct nvc *c, struct nvc_counters *counters)
{
	*counters = c->counters;
}
