// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Throws random commands at random small key value SSDs, cuts their power at
 * every kind of moment, and compares with a dictionary.
 *
 * As in fuzz_ssd.c one device lives, a twin is moved by snapshots and must
 * decide the same, and copies of the first have their power cut. Memory holds,
 * for each unit, the number of the Store that its data are of.
 *
 * usage: fuzz_kv SEED ROUNDS
 */
#include "batch.h"
#include "drive.h"
#include "image.h"

#define KEYS 48
#define MAX_BLOCKS 4000
#define MAX_UNITS 4000
#define UNIT 4096
#define COMMANDS 400
#define LIST_BYTES (NVC_KV_LIST_HEAD + KEYS * 20)

struct key {
	u8 bytes[NVC_KV_MAX_KEY];
	u32 length;
};

/* What a key was told: a value by the number of its Store, or that it is deleted. */
struct version {
	u64 seq;
	u64 due;
	u32 size;
	bool exists;
	bool promised;
};

static struct nvc_config config;
static struct nvc_kv_space space;
static struct key keys[KEYS];
static struct version versions[KEYS][COMMANDS + 1];
static u32 count[KEYS];
static u64 memory[MAX_UNITS];
static u64 clock_ns;
static bool strict, protected;

static struct version *latest(u32 k)
{
	return &versions[k][count[k] - 1];
}

static u32 units(u32 bytes)
{
	return (bytes + UNIT - 1) / UNIT;
}

static void tell(u32 k, const struct version *version)
{
	versions[k][count[k]++] = *version;
}

static void random_config(void)
{
	do {
		config = random_drive(MAX_BLOCKS);
		config.kind = NVC_KV;
		config.model.fdp_handles = 0;
		config.model.mapping_cache = 0;
		config.model.kv_value = 1 + below(below(2) ? 16 : 64);
		config.model.kv_keys = below(3) ? 0 : 1 + below(KEYS);
	} while (nvc_check(&config) || config.blocks << config.block_shift > MAX_UNITS * UNIT);
}

static bool same_key(const struct key *a, const struct key *b)
{
	return a->length == b->length && !memcmp(a->bytes, b->bytes, a->length);
}

/* All are different; some are the beginnings of others. */
static void random_keys(void)
{
	u32 k, i;

	for (k = 0; k < KEYS; k++) {
		bool again = true;

		while (again) {
			keys[k].length = 1 + below(NVC_KV_MAX_KEY);
			for (i = 0; i < NVC_KV_MAX_KEY; i++)
				keys[k].bytes[i] = below(8) ? below(3) : any();
			again = false;
			for (i = 0; i < k; i++)
				again |= same_key(&keys[i], &keys[k]);
		}
		count[k] = 0;
		tell(k, &(struct version){ .promised = true });
	}
}

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

static u64 word(const u8 *bytes)
{
	u64 value = 0;
	u32 i;

	for (i = 8; i--;)
		value = value << 8 | bytes[i];
	return value;
}

static struct nvc_cmd command(u8 opcode, u32 k, u32 bytes)
{
	return (struct nvc_cmd){
		.now = clock_ns,
		.slba = word(keys[k].bytes),
		.key = word(keys[k].bytes + 8),
		.nlb = bytes,
		.nsid = 1,
		.opcode = opcode,
		.action = keys[k].length,
	};
}

/* Of the units that a value lies in, what is done with each; all of it is there. */
static void check_value(const struct nvc *c, const struct nvc_cmd *cmd, u32 bytes, u64 seq,
			bool store)
{
	struct nvc_kv_cursor cursor;
	u32 there = 0;
	u32 n;
	u64 at, i;

	nvc_kv_begin(c, cmd, &cursor);
	while ((n = nvc_kv_next(c, &cursor, &at))) {
		CHECK(!(at % UNIT) && at + n <= config.blocks << config.block_shift);
		for (i = at / UNIT; i * UNIT < at + n; i++) {
			if (store)
				memory[i] = seq;
			CHECK(memory[i] == seq);
		}
		CHECK(!(there % UNIT));
		there += n;
	}
	CHECK(there == bytes);
}

/* Of which Store the first of its data are. */
static u64 origin(const struct nvc *c, const struct nvc_cmd *cmd)
{
	struct nvc_kv_cursor cursor;
	u64 at;

	nvc_kv_begin(c, cmd, &cursor);
	return nvc_kv_next(c, &cursor, &at) ? memory[at / UNIT] : 0;
}

/* What a key has is what it was told once, no earlier than what was promised for good. */
static void check_cut_key(struct nvc *c, u32 k, u64 now)
{
	struct nvc_cmd cmd = command(NVC_KV_RETRIEVE, k, ~0U);
	u32 least = count[k] - 1;
	struct nvc_decision d;
	u32 i;

	while (!(versions[k][least].promised && versions[k][least].due <= now))
		least--;
	cmd.now = now;
	nvc_submit(c, &cmd, NULL, &d);
	CHECK(!d.status || d.status == NVC_SC_KEY_UNKNOWN);
	for (i = count[k]; i-- > least;) {
		const struct version *v = &versions[k][i];

		if (v->exists != !d.status)
			continue;
		if (!v->exists)
			return;
		if (v->size != d.result || (v->size && v->seq != origin(c, &cmd)))
			continue;
		check_value(c, &cmd, v->size, v->seq, false);
		return;
	}
	CHECK(false);
}

static void cut_copy(const struct nvc *alive)
{
	struct nvc *c = copy(alive);
	u64 now = clock_ns + (below(2) ? 0 : below(3000000));
	struct nvc_kv_space after;
	u64 ready;
	u32 k;

	CHECK(!nvc_undo_units(c) && !nvc_cut(c, now, NULL, &ready) && ready >= now);
	audit(c);
	for (k = 0; k < KEYS; k++)
		check_cut_key(c, k, now);
	CHECK(nvc_kv_space(alive, 1, &space) && nvc_kv_space(c, 1, &after));
	if (config.model.plp)
		CHECK(after.keys == space.keys && after.used == space.used);
	free(c);
}

/* Whether a Store fits, and which keys there are. */
static void tally(u32 *live, u32 *there)
{
	u32 k;

	*live = 0;
	*there = 0;
	for (k = 0; k < KEYS; k++) {
		*live += latest(k)->exists ? units(latest(k)->size) : 0;
		*there += latest(k)->exists;
	}
}

static u16 expected_store(const struct nvc_cmd *cmd, u32 k)
{
	u32 live, there;

	if (cmd->nlb > space.max_value)
		return NVC_SC_VALUE_SIZE;
	if (cmd->option & NVC_KV_ADD && latest(k)->exists)
		return NVC_SC_KEY_EXISTS;
	if (cmd->option & NVC_KV_REPLACE && !latest(k)->exists)
		return NVC_SC_KEY_UNKNOWN;
	tally(&live, &there);
	live -= latest(k)->exists ? units(latest(k)->size) : 0;
	if (live + units(cmd->nlb) > space.capacity / UNIT)
		return NVC_SC_CAPACITY;
	if (!latest(k)->exists && there == space.max_keys)
		return NVC_SC_CAPACITY;
	return NVC_SC_SUCCESS;
}

static u16 expected(const struct nvc_cmd *cmd, u32 k)
{
	if (protected && (cmd->opcode == NVC_KV_STORE || cmd->opcode == NVC_KV_DELETE))
		return NVC_SC_WRITE_PROTECTED;
	if (cmd->opcode == NVC_FLUSH)
		return NVC_SC_SUCCESS;
	if (cmd->action > NVC_KV_MAX_KEY)
		return NVC_SC_INVALID_FIELD;
	if (cmd->opcode == NVC_KV_LIST)
		return cmd->nlb < 4 ? NVC_SC_INVALID_FIELD : NVC_SC_SUCCESS;
	if (!cmd->action)
		return NVC_SC_KEY_SIZE;
	if (cmd->opcode == NVC_KV_STORE)
		return expected_store(cmd, k);
	if (latest(k)->exists || (cmd->opcode == NVC_KV_DELETE && !strict))
		return NVC_SC_SUCCESS;
	return NVC_SC_KEY_UNKNOWN;
}

/* Everything told so far is kept from @due on. */
static void keep_all(u64 due)
{
	u32 k;

	for (k = 0; k < KEYS; k++) {
		latest(k)->due = latest(k)->promised ? nvc_min(latest(k)->due, due) : due;
		latest(k)->promised = true;
	}
}

static void follow(const struct nvc *c, const struct nvc_cmd *cmd, u32 k,
		   const struct nvc_decision *d)
{
	struct version version = { .seq = d->seq, .due = d->target };

	switch (cmd->opcode) {
	case NVC_KV_STORE:
		version.size = cmd->nlb;
		version.exists = true;
		version.promised = !config.vwc || config.model.plp;
		tell(k, &version);
		check_value(c, cmd, cmd->nlb, d->seq, true);
		CHECK(d->data == (cmd->nlb ? NVC_DATA_VALUE : NVC_DATA_NONE) && !d->result);
		break;
	case NVC_KV_RETRIEVE:
		CHECK(d->result == latest(k)->size);
		check_value(c, cmd, nvc_min(cmd->nlb, d->result), latest(k)->seq, false);
		break;
	case NVC_KV_DELETE:
		/* kept as soon as it is done */
		version.promised = true;
		version.due = 0;
		if (latest(k)->exists)
			tell(k, &version);
		break;
	case NVC_KV_LIST:
		CHECK(d->data == NVC_DATA_REPORT);
		break;
	case NVC_FLUSH:
		if (config.vwc)
			keep_all(d->target);
	}
}

static struct nvc_cmd random_cmd(u32 *k)
{
	static const u8 opcodes[] = {
		NVC_KV_STORE, NVC_KV_STORE, NVC_KV_STORE, NVC_KV_STORE, NVC_KV_STORE,
		NVC_KV_RETRIEVE, NVC_KV_RETRIEVE, NVC_KV_DELETE, NVC_KV_LIST, NVC_KV_EXIST,
		NVC_FLUSH,
	};
	u32 bytes = below(4) ? below(space.max_value + 1) : below(3 * UNIT);
	struct nvc_cmd cmd;

	clock_ns += below(4) ? below(20000) : below(2000000);
	*k = below(below(2) ? KEYS : 8);
	cmd = command(opcodes[below(sizeof(opcodes))], *k, bytes);
	if (!below(20))
		cmd.nlb = below(2) ? space.max_value + 1 + below(100) : any();
	if (!below(40))
		cmd.action = below(2) ? 0 : NVC_KV_MAX_KEY + 1 + below(200);
	if (cmd.opcode == NVC_KV_STORE && !below(3))
		cmd.option = any();
	/* what is behind the key does not count */
	if (cmd.action == keys[*k].length && cmd.action < 8)
		cmd.slba |= any() << 8 * cmd.action;
	if (cmd.action == keys[*k].length && cmd.action <= 8)
		cmd.key = any();
	return cmd;
}

/* What is inverted is a byte of the value. */
static void check_fault(const struct nvc_cmd *cmd, const struct nvc_decision *d)
{
	u32 bytes = cmd->opcode == NVC_KV_STORE ? cmd->nlb : nvc_min(cmd->nlb, d->result);

	CHECK(!(d->fault & NVC_CORRUPT) || (d->data == NVC_DATA_VALUE && d->corrupt < bytes));
}

static void one_command(struct nvc *a, struct nvc *b)
{
	struct nvc_decision d, twin;
	u32 k;
	struct nvc_cmd cmd = random_cmd(&k);

	nvc_submit(a, &cmd, NULL, &d);
	nvc_submit(b, &cmd, NULL, &twin);
	CHECK(d.seq == twin.seq && d.target == twin.target && d.status == twin.status);
	CHECK(d.result == twin.result && d.data == twin.data && d.target >= cmd.now);
	CHECK(d.corrupt == twin.corrupt && d.fault == twin.fault);
	if (d.status != NVC_SC_READ_ONLY)
		CHECK(d.status == expected(&cmd, k));
	if (d.status) {
		CHECK(d.data == NVC_DATA_NONE && !d.result && d.target == cmd.now);
		return;
	}
	check_fault(&cmd, &d);
	follow(a, &cmd, k, &d);
}

/* Which of the keys it is, or KEYS. */
static u32 find(const u8 *bytes, u32 length)
{
	u32 k;

	for (k = 0; k < KEYS; k++)
		if (keys[k].length == length && !memcmp(keys[k].bytes, bytes, length))
			return k;
	return KEYS;
}

/* With Lists of any size, each from the last key of the one before, every key comes once. */
static void check_list(const struct nvc *c)
{
	u8 buffer[LIST_BYTES];
	bool listed[KEYS] = { false };
	struct nvc_cmd cmd = { .nsid = 1, .opcode = NVC_KV_LIST };
	u32 live, there, total = 0, fresh = 1;

	tally(&live, &there);
	while (fresh) {
		u32 bytes = 2 * 20 + NVC_KV_LIST_HEAD + below(LIST_BYTES - 44);
		u32 at = NVC_KV_LIST_HEAD;
		u32 i, n, k;

		CHECK(nvc_kv_list(c, &cmd, NULL, bytes) == nvc_kv_list(c, &cmd, buffer, bytes));
		n = word(buffer) & 0xffffffff;
		fresh = 0;
		for (i = 0; i < n; i++) {
			u32 length = buffer[at] | buffer[at + 1] << 8;

			k = find(buffer + at + 2, length);
			CHECK(k < KEYS && latest(k)->exists);
			CHECK(!listed[k] || (!i && cmd.action));
			fresh += !listed[k];
			listed[k] = true;
			at += (2 + length + 3) / 4 * 4;
		}
		CHECK(at <= bytes);
		total += fresh;
		if (n)
			cmd = command(NVC_KV_LIST, k, 0);
	}
	CHECK(total == there);
}

static void check_all(struct nvc *c)
{
	u32 live, there;
	u32 k;

	tally(&live, &there);
	nvc_kv_space(c, 1, &space);
	CHECK(space.keys == there && space.used == (u64)live * UNIT);
	check_list(c);
	for (k = 0; k < KEYS; k++) {
		struct nvc_cmd cmd = command(NVC_KV_RETRIEVE, k, ~0U);

		if (latest(k)->exists)
			check_value(c, &cmd, latest(k)->size, latest(k)->seq, false);
	}
}

static void live_change(struct nvc *a, struct nvc *b)
{
	struct nvc_ns_change change = {
		.op = below(2) ? NVC_NS_SWITCH : NVC_NS_CREATE + below(2), .nsid = 1 + below(3),
		.value = below(64), .blocks = 10, .block_shift = 9,
	};

	random_live(&config.model);
	CHECK(!nvc_set_model(a, clock_ns, &config.model));
	CHECK(!nvc_set_model(b, clock_ns, &config.model));
	CHECK(nvc_ns_change(a, clock_ns, &change) == nvc_ns_change(b, clock_ns, &change));
	change.op = NVC_NS_SWITCH;
	change.nsid = 1;
	strict = below(2);
	protected = !below(4);
	change.value = (strict ? NVC_NS_STRICT_DELETE : 0) | (protected ? NVC_NS_PROTECTED : 0);
	CHECK(!nvc_ns_change(a, clock_ns, &change) && !nvc_ns_change(b, clock_ns, &change));
	CHECK(!nvc_ns_get(a, 2));
}

/* What makes commands late, and inverts a byte of values alone. */
static void set_rule(struct nvc *a, struct nvc *b)
{
	struct nvc_rule rule = {
		.fault = below(2) ? NVC_CORRUPT : NVC_DELAY,
		.delay = 1 + below(1000000),
		.nlb = below(4) ? 0 : 1000,
		.every = 1 + below(3),
		.chance = below(2) ? NVC_MILLION : 1 + below(NVC_MILLION),
		.opcode = below(2) ? NVC_KV_STORE : NVC_ANY_OPCODE,
	};
	struct nvc_rule *set = below(3) ? &rule : NULL;
	u32 slot = below(2);

	CHECK(!nvc_set_rule(a, clock_ns, slot, set) && !nvc_set_rule(b, clock_ns, slot, set));
}

static void format(struct nvc *a, struct nvc *b)
{
	struct nvc_ns_change change = {
		.op = NVC_NS_FORMAT, .nsid = 1, .block_shift = config.block_shift,
	};
	u32 k;

	CHECK(!nvc_ns_change(a, clock_ns, &change) && !nvc_ns_change(b, clock_ns, &change));
	for (k = 0; k < KEYS; k++)
		tell(k, &(struct version){ .promised = true });
}

static void one_round(void)
{
	struct nvc *a, *b;
	u32 i;

	clock_ns = 0;
	strict = false;
	protected = false;
	memset(memory, 0, sizeof(memory));
	random_config();
	random_keys();
	a = make_device(&config);
	b = make_device(&config);
	CHECK(nvc_kv_space(a, 1, &space) && !nvc_kv_space(a, 2, &space));
	nvc_kv_space(a, 1, &space);
	for (i = 0; i < LONG_ROUND(COMMANDS / 2); i++) {
		if (!below(40))
			live_change(a, b);
		if (!below(150))
			format(a, b);
		if (!below(30))
			set_rule(a, b);
		one_command(a, b);
		if (!below(8))
			audit(a);
		if (!below(16))
			b = moved(b);
		if (EACH_STEP && !below(3))
			cut_copy(a);
		if (!below(16))
			check_all(a);
	}
	check_all(a);
	audit(b);
	nvc_wake(a, below(1 << 30));
	check_all(a);
	audit(a);
	free(a);
	free(b);
}
