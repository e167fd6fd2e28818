// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Faults by rule: which commands go wrong, and how. Chance comes from the
 * device's seed, a stream for each rule, so that rules do not disturb each
 * other and the same commands meet the same faults again.
 */
#include "internal.h"

int nvc_check_rule(const struct nvc_rule *r)
{
	if (!r->fault || r->fault > NVC_UNPLUG || r->fault & (r->fault - 1))
		return -EINVAL;
	if (!r->every || !r->chance || r->nlb > ~0ULL - r->slba)
		return -EINVAL;
	if ((r->fault == NVC_FAIL && !r->status) || (r->fault == NVC_DELAY && !r->delay))
		return -EINVAL;
	if ((r->opcode > 0xff && r->opcode != NVC_ANY_OPCODE) || r->ctrl > NVC_MAX_CTRLS)
		return -ERANGE;
	if (r->chance > NVC_MILLION || r->status > 0x7fff || r->delay >> NVC_MAX_DELAY_SHIFT)
		return -ERANGE;
	return 0;
}

int nvc_rules_set(struct nvc *c, u32 slot, const struct nvc_rule *rule)
{
	int err = slot < NVC_MAX_RULES ? 0 : -EINVAL;
	u64 seed = c->config.seed;
	struct nvc_slot *s;

	if (!err && rule)
		err = nvc_check_rule(rule);
	if (err)
		return err;
	s = &c->rules.slots[slot];
	s->read_only = 0;
	c->rules.set &= ~(1U << slot);
	if (!rule)
		return 0;
	memset(s, 0, sizeof(*s));
	s->rule = *rule;
	/* devices of neighbouring seeds have nothing in common either */
	s->random = nvc_next_random(&seed) + slot;
	s->random = nvc_next_random(&s->random);
	c->rules.set |= 1U << slot;
	return 0;
}

static bool overlaps(const struct nvc_rule *r, u64 slba, u64 nlb)
{
	return nlb && slba < r->slba + r->nlb && r->slba < slba + nlb;
}

/* Of valid commands only: their ranges end inside the device. */
static bool touches(const struct nvc *c, const struct nvc_rule *r, const struct nvc_cmd *cmd,
		    const struct nvc_range *ranges)
{
	u64 copied = 0;
	u32 i;

	if (!r->nlb)
		return true;
	if (cmd->opcode == NVC_FLUSH || c->config.kind == NVC_KV)
		return false;
	if (cmd->opcode == NVC_IO_SEND || cmd->opcode == NVC_IO_RECEIVE)
		return false;
	/* of Zone Management the block that it names counts */
	if (cmd->opcode == NVC_ZONE_SEND || cmd->opcode == NVC_ZONE_RECEIVE)
		return overlaps(r, cmd->slba, 1);
	if (cmd->opcode != NVC_DSM && cmd->opcode != NVC_COPY)
		return overlaps(r, cmd->slba, cmd->nlb);
	for (i = 0; i < cmd->nlb; i++) {
		if (overlaps(r, ranges[i].slba, ranges[i].nlb))
			return true;
		copied += ranges[i].nlb;
	}
	return cmd->opcode == NVC_COPY && overlaps(r, cmd->slba, copied);
}

/* Bytes that go to or come from the host. */
static u32 data_bytes(const struct nvc *c, const struct nvc_cmd *cmd)
{
	if (c->config.kind != NVC_KV)
		return cmd->nlb << c->ns[cmd->nsid - 1].block_shift;
	return cmd->opcode == NVC_KV_STORE ? cmd->nlb : nvc_kv_bytes(c, cmd);
}

static bool has_data(const struct nvc *c, const struct nvc_cmd *cmd)
{
	if (cmd->opcode != NVC_READ && cmd->opcode != NVC_WRITE && cmd->opcode != NVC_ZONE_APPEND)
		return false;
	return c->config.kind != NVC_KV || data_bytes(c, cmd);
}

static bool matches(const struct nvc *c, const struct nvc_rule *r, const struct nvc_cmd *cmd,
		    const struct nvc_range *ranges)
{
	if (r->opcode != NVC_ANY_OPCODE && r->opcode != cmd->opcode)
		return false;
	if ((r->nsid && r->nsid != cmd->nsid) || (r->qid && r->qid != cmd->qid))
		return false;
	if (r->ctrl && r->ctrl != cmd->ctrl + 1U)
		return false;
	if (r->fault == NVC_CORRUPT && !has_data(c, cmd))
		return false;
	return touches(c, r, cmd, ranges);
}

/* In this order: the nth of what matches, then by chance, then as often as said. */
static bool hits(const struct nvc *c, struct nvc_slot *s, const struct nvc_cmd *cmd,
		 const struct nvc_range *ranges)
{
	const struct nvc_rule *r = &s->rule;

	if ((r->count && s->hits >= r->count) || !matches(c, r, cmd, ranges))
		return false;
	if (nvc_mod(++s->seen, r->every))
		return false;
	if (r->chance < NVC_MILLION &&
	    nvc_mod(nvc_next_random(&s->random), NVC_MILLION) >= r->chance)
		return false;
	s->hits++;
	return true;
}

static bool refuses(const struct nvc_slot *s, const struct nvc_cmd *cmd)
{
	return (s->read_only == cmd->nsid || s->read_only == NVC_ALL_NS) && nvc_changes(cmd);
}

static void apply_one(struct nvc *c, struct nvc_slot *s, const struct nvc_cmd *cmd,
		      struct nvc_decision *decision)
{
	const struct nvc_rule *r = &s->rule;

	decision->fault |= r->fault;
	if (r->fault == NVC_FAIL && !decision->status)
		decision->status = r->status;
	else if (r->fault == NVC_DELAY)
		decision->target += r->delay;
	else if (r->fault == NVC_CORRUPT)
		decision->corrupt = nvc_mod(nvc_next_random(&s->random), data_bytes(c, cmd));
	else if (r->fault == NVC_READ_ONLY)
		s->read_only = cmd->nsid;
}

/* What rules do to a valid command. One that is lost has no status. */
void nvc_rules_apply(struct nvc *c, const struct nvc_cmd *cmd,
		     const struct nvc_range *ranges, struct nvc_decision *decision)
{
	u32 set;

	for (set = c->rules.set; set; set &= set - 1) {
		struct nvc_slot *s = &c->rules.slots[__builtin_ctz(set)];

		if (hits(c, s, cmd, ranges))
			apply_one(c, s, cmd, decision);
		if (!refuses(s, cmd))
			continue;
		decision->fault |= NVC_READ_ONLY;
		if (!decision->status)
			decision->status = NVC_SC_READ_ONLY;
	}
	if (decision->fault & NVC_LOSES)
		decision->status = NVC_SC_SUCCESS;
	c->counters.faults += !!decision->fault;
}
