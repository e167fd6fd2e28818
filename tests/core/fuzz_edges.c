// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Throws configurations at the core that mean nothing, or are on the edge of
 * meaning something; those it takes must work. Then what each kind refuses.
 *
 * usage: fuzz_edges SEED ROUNDS
 */
#include <stdio.h>
#include <stdlib.h>

#include "batch.h"

#define MAX_SIZE (16 << 20)
#define COMMANDS 40
#define MAX_LOST 20000

#define CHECK(cond) \
	do { \
		if (!(cond)) { \
			fprintf(stderr, "%s:%d: seed %llu: %s\n", __FILE__, __LINE__, \
				round_seed, #cond); \
			exit(1); \
		} \
	} while (0)

static u64 seed, round_seed;

/* splitmix64 */
static u64 any(void)
{
	u64 z = seed += 0x9e3779b97f4a7c15ULL;

	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ z >> 27) * 0x94d049bb133111ebULL;
	return z ^ z >> 31;
}

static u64 below(u64 n)
{
	return any() % n;
}

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
	return config;
}

static void check_snapshot(struct nvc *c, const struct nvc_config *config)
{
	struct nvc_config other = *config;
	struct nvc_snapshot good, bad;

	nvc_freeze(c, &good);
	bad = good;
	bad.magic++;
	CHECK(nvc_thaw(c, &bad, config) == -EINVAL);
	bad = good;
	bad.layout++;
	CHECK(nvc_thaw(c, &bad, config) == -EINVAL);
	bad = good;
	bad.size++;
	CHECK(nvc_thaw(c, &bad, config) == -EMEDIUMTYPE);
	bad = good;
	bad.config.timing.read_delay++;
	CHECK(nvc_thaw(c, &bad, config) == -EBADMSG);
	other.blocks--;
	CHECK(nvc_thaw(c, &good, &other) == -EMEDIUMTYPE);
	other = *config;
	other.kind = (config->kind + 1) % NVC_KINDS;
	CHECK(nvc_thaw(c, &good, &other) == -EMEDIUMTYPE);
	other = *config;
	other.block_shift = 21 - config->block_shift;
	CHECK(nvc_thaw(c, &good, &other) == -EMEDIUMTYPE);
	other = *config;
	other.seed++;
	CHECK(nvc_thaw(c, &good, &other) == -EMEDIUMTYPE);
	other = *config;
	other.vwc ^= 1;
	CHECK(nvc_thaw(c, &good, &other) == -EMEDIUMTYPE);
	other = *config;
	other.model.channels++;
	CHECK((nvc_thaw(c, &good, &other) == -EMEDIUMTYPE) == (config->kind != NVC_NVM));
	if (config->kind == NVC_NVM)
		nvc_freeze(c, &good);
	CHECK(!nvc_thaw(c, &good, config));
}

static void check_queries(struct nvc *c, const struct nvc_config *config)
{
	struct nvc_model model = config->model;
	struct nvc_ssd_stats stats;

	nvc_stats(c, &stats);
	CHECK((stats.lines != 0) == (config->kind == NVC_SSD));
	CHECK(!nvc_undo_units(c) || config->kind == NVC_SSD);
	model.fw_read = 1;
	CHECK(nvc_set_model(c, 0, &model) == 0 || config->kind == NVC_NVM);
	model.gc_low = 0;
	CHECK(nvc_set_model(c, 0, &model) == -ERANGE || config->kind == NVC_NVM);
	model.channels++;
	CHECK(nvc_set_model(c, 0, &model) == -EBUSY);
}

/* Read, Write, Write Zeroes and Flush, from anywhere to anywhere inside the device. */
static void some_commands(struct nvc *c, const struct nvc_config *config)
{
	static const u8 opcodes[] = { NVC_READ, NVC_WRITE, NVC_WRITE, NVC_WRITE_ZEROES, NVC_FLUSH };
	u64 now = 0;
	u32 i;

	for (i = 0; i < COMMANDS; i++) {
		struct nvc_cmd cmd = {
			.now = now += below(1 << 20),
			.slba = below(config->blocks),
			.nsid = 1,
			.opcode = opcodes[below(sizeof(opcodes))],
			.flags = below(2) ? NVC_FUA : 0,
		};
		struct nvc_decision d;

		cmd.nlb = nvc_min(1 + below(2000), config->blocks - cmd.slba);
		nvc_submit(c, &cmd, NULL, &d);
		CHECK(!d.status || d.status == NVC_SC_READ_ONLY);
		CHECK(d.target >= cmd.now);
	}
}

static void use(const struct nvc_config *config)
{
	static struct nvc_lost lost[MAX_LOST];
	size_t size = nvc_size(config);
	struct nvc *c;
	u64 ready;

	if (!size || size > MAX_SIZE)
		return;
	c = malloc(size);
	CHECK(c);
	memset(c, 0xa5, size);
	CHECK(!nvc_init(c, config));
	some_commands(c, config);
	if (config->kind == NVC_SSD)
		CHECK(!batch_audit(c));
	check_snapshot(c, config);
	if (nvc_undo_units(c) <= MAX_LOST)
		CHECK(nvc_cut(c, 0, lost, &ready) <= MAX_LOST);
	check_queries(c, config);
	free(c);
}

int main(int argc, char **argv)
{
	u64 rounds;

	CHECK(argc == 3);
	seed = strtoull(argv[1], NULL, 0);
	for (rounds = 10 * strtoull(argv[2], NULL, 0); rounds; rounds--) {
		struct nvc_config config;
		int err;

		round_seed = seed;
		config = random_config();
		err = nvc_check(&config);
		CHECK(!err || err == -EINVAL || err == -ERANGE);
		CHECK(!err == !!nvc_size(&config));
		use(&config);
	}
	puts("ok");
	return 0;
}
