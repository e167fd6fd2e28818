// SPDX-License-Identifier: GPL-2.0-or-later
/* The way in: making a device, and the inputs in their order. */
#include "internal.h"

static const struct nvc_media *const kinds[NVC_KINDS] = {
	[NVC_NVM] = &nvc_nvm,
	[NVC_SSD] = &nvc_ssd,
	[NVC_HDD] = &nvc_hdd,
	[NVC_ZNS] = &nvc_zns,
	[NVC_KV] = &nvc_kv,
};

static int check_timing(const struct nvc_timing *t)
{
	if (!t->units || t->unit_shift < NVC_MIN_BLOCK_SHIFT)
		return -EINVAL;
	if (t->units > NVC_MAX_UNITS || t->unit_shift > NVC_MAX_UNIT_SHIFT)
		return -ERANGE;
	return 0;
}

static int check_model(const struct nvc_config *config)
{
	int err = 0;

	if (config->kind != NVC_NVM)
		err = nvc_model_check(&config->model);
	if (!err && config->kind == NVC_ZNS)
		err = nvc_zns_check(config);
	if (!err && config->kind == NVC_KV)
		err = nvc_kv_check_config(config);
	if (!err && nvc_has_ssd(config))
		err = nvc_ssd_check(config);
	return err;
}

int nvc_check(const struct nvc_config *config)
{
	int err;

	if (config->kind >= NVC_KINDS || !config->blocks || config->vwc > 1)
		return -EINVAL;
	if (config->block_shift != 9 && config->block_shift != 12)
		return -EINVAL;
	if (config->blocks > 1ULL << (NVC_MAX_BYTES_SHIFT - config->block_shift))
		return -ERANGE;
	err = check_timing(&config->timing);
	return err ? err : check_model(config);
}

static u64 sectors(const struct nvc_config *config)
{
	return config->blocks << (config->block_shift - NVC_MIN_BLOCK_SHIFT);
}

size_t nvc_size(const struct nvc_config *config)
{
	if (nvc_check(config))
		return 0;
	return sizeof(struct nvc) + kinds[config->kind]->size(config) +
	       2 * nvc_map_size(sectors(config));
}

/* Sets every pointer into the device's own memory. */
void nvc_attach(struct nvc *c)
{
	u8 *memory = (u8 *)(c + 1);

	c->media = kinds[c->config.kind];
	c->state = memory;
	memory += c->media->size(&c->config);
	nvc_map_attach(&c->written, memory, sectors(&c->config));
	memory += nvc_map_size(sectors(&c->config));
	nvc_map_attach(&c->bad, memory, sectors(&c->config));
	if (c->media->attach)
		c->media->attach(c);
}

int nvc_init(struct nvc *c, const struct nvc_config *config)
{
	int err = nvc_check(config);

	if (err)
		return err;
	memset(c, 0, sizeof(*c));
	c->config = *config;
	c->media = kinds[config->kind];
	c->capacity = config->blocks << config->block_shift;
	c->cache = config->vwc ? ~0U : 0;
	c->state = c + 1;
	c->media->init(c);
	nvc_attach(c);
	nvc_map_reset(&c->written, sectors(config));
	nvc_map_reset(&c->bad, sectors(config));
	nvc_ns_init(c);
	return 0;
}

/* An input arrives: it gets the next number, and time does not run backwards. */
void nvc_arrive(struct nvc *c, u64 now)
{
	c->now = nvc_max(c->now, now);
	c->seq++;
}

/* What was to be done by then is dropped. */
static void stop_busy(struct nvc *c)
{
	if (c->busy_until <= c->now)
		return;
	c->counters.busy -= c->busy_until - c->now;
	c->busy_until = c->now;
}

static void fail(struct nvc *c, u16 status)
{
	c->counters.errors++;
	c->counters.media_errors += status == NVC_SC_READ_ERROR;
}

/* A valid Read that nothing special is switched on for, as most commands are. */
static inline bool plain_read(const struct nvc *c, const struct nvc_cmd *cmd)
{
	const struct nvc_ns *ns = &c->ns[(cmd->nsid - 1) % NVC_MAX_NS];

	return cmd->opcode == NVC_READ && !cmd->flags && cmd->nsid - 1 < NVC_MAX_NS &&
	       c->media->read && !c->rules.set && !ns->flags && nvc_attached(ns, cmd) &&
	       !nvc_check_stretch(ns, cmd);
}

/* What is left to do of a command whose own status is known. */
static void decide(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_ns *ns,
		   const struct nvc_range *ranges, struct nvc_decision *decision)
{
	if (c->rules.set && !decision->status)
		nvc_rules_apply(c, cmd, ranges, decision);
	if (decision->status) {
		fail(c, decision->status);
		return;
	}
	if (decision->fault & NVC_LOSES)
		return;
	/* so far this was what rules add */
	decision->target += c->media->target(c, cmd, ns, ranges) - c->now;
	nvc_keep_busy(c, decision->target);
	decision->data = nvc_carry_out(c, cmd, ns, ranges);
}

/* A Zone Append is for where its data go. */
static void decide_append(struct nvc *c, const struct nvc_cmd *cmd, struct nvc_ns *ns,
			  struct nvc_decision *decision)
{
	struct nvc_cmd placed = *cmd;

	if (!decision->status)
		placed = nvc_zone_place(c, ns, cmd);
	decide(c, &placed, ns, NULL, decision);
	if (!decision->status)
		decision->result = placed.slba;
}

static noinline void submit(struct nvc *c, const struct nvc_cmd *cmd,
			    const struct nvc_range *ranges, struct nvc_decision *decision)
{
	struct nvc_ns *ns = nvc_ns_of(c, cmd);

	decision->status = nvc_check_cmd(c, cmd, ns, ranges);
	if (c->read_only && !decision->status && nvc_changes(cmd))
		decision->status = NVC_SC_READ_ONLY;
	if (cmd->opcode == NVC_ZONE_APPEND)
		decide_append(c, cmd, ns, decision);
	else
		decide(c, cmd, ns, ranges, decision);
	if (c->config.kind == NVC_KV && !decision->status && !(decision->fault & NVC_LOSES))
		decision->result = nvc_kv_result(c, cmd);
}

void nvc_submit(struct nvc *c, const struct nvc_cmd *cmd,
		const struct nvc_range *ranges, struct nvc_decision *decision)
{
	nvc_arrive(c, cmd->now);
	*decision = (struct nvc_decision){ .seq = c->seq, .target = c->now };
	if (plain_read(c, cmd))
		c->media->read(c, cmd, decision);
	else
		submit(c, cmd, ranges, decision);
}

u32 nvc_run(const struct nvc *c, u32 nsid, u64 slba, u32 nlb, bool *written)
{
	const struct nvc_ns *ns = &c->ns[nsid - 1];
	u64 run = nvc_map_run(&c->written, nvc_extent(ns, slba, nlb), written);

	return run >> (ns->block_shift - NVC_MIN_BLOCK_SHIFT);
}

u64 nvc_stretch(const struct nvc *c, u64 sector, u64 count, bool *written)
{
	return nvc_map_run(&c->written, (struct nvc_extent){ sector, count }, written);
}

u32 nvc_readable(const struct nvc *c, u32 nsid, u64 slba, u32 nlb)
{
	const struct nvc_ns *ns = &c->ns[nsid - 1];
	bool bad;
	u64 run;

	if (!(ns->flags & NVC_NS_DAMAGED))
		return nlb;
	run = nvc_map_run(&c->bad, nvc_extent(ns, slba, nlb), &bad);
	return bad ? 0 : run >> (ns->block_shift - NVC_MIN_BLOCK_SHIFT);
}

int nvc_ns_change(struct nvc *c, u64 now, const struct nvc_ns_change *change)
{
	int err = nvc_ns_alter(c, change);

	if (!err)
		nvc_arrive(c, now);
	return err;
}

void nvc_set_cache(struct nvc *c, u64 now, u32 ctrl, bool on)
{
	u32 bit = ctrl < NVC_MAX_CTRLS ? 1U << ctrl : 0;

	nvc_arrive(c, now);
	if (c->cache & bit && !on && c->media->settle)
		c->media->settle(c);
	if (c->config.vwc)
		c->cache = on ? c->cache | bit : c->cache & ~bit;
}

int nvc_set_timing(struct nvc *c, u64 now, const struct nvc_timing *timing)
{
	int err = check_timing(timing);

	if (err)
		return err;
	nvc_arrive(c, now);
	c->config.timing = *timing;
	return 0;
}

void nvc_reset(struct nvc *c, u64 now)
{
	nvc_arrive(c, now);
	stop_busy(c);
	c->media->reset(c);
}

int nvc_set_rule(struct nvc *c, u64 now, u32 slot, const struct nvc_rule *rule)
{
	int err = nvc_rules_set(c, slot, rule);

	if (!err)
		nvc_arrive(c, now);
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
