// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Changes numbers in the snapshot of a used device, with a checksum that fits
 * them. It is refused, or what comes of it is a device that holds together and
 * ends every command. Unchanged it is never refused, with a lie in it always.
 * Meant to be built with the sanitizers.
 *
 * usage: fuzz_thaw SEED ROUNDS
 */
#include <unistd.h>

#include "batch.h"
#include "drive.h"
#include "image.h"
#include "kv.h"
#include "snapshot.h"

#define MAX_BLOCKS 3000
#define MAX_UNDO 4000
#define SECONDS 60

static struct nvc_config config;
static u64 clock_ns;

static struct nvc_cmd random_cmd(struct nvc_range *ranges)
{
	static const u8 opcodes[] = {
		NVC_READ, NVC_WRITE, NVC_WRITE, NVC_WRITE, NVC_WRITE, NVC_WRITE_ZEROES, NVC_DSM,
		NVC_FLUSH, NVC_COMPARE, NVC_VERIFY, NVC_COPY, NVC_WRITE_UNCOR,
	};
	static const u8 of_zones[] = {
		NVC_ZONE_APPEND, NVC_ZONE_APPEND, NVC_ZONE_SEND, NVC_ZONE_RECEIVE, NVC_READ,
		NVC_WRITE, NVC_FLUSH, NVC_WRITE_ZEROES,
	};
	struct nvc_cmd cmd = {
		.now = clock_ns += below(4) ? below(20000) : below(20000000),
		.slba = below(below(2) ? config.blocks : config.blocks / 8 + 1),
		.nsid = below(16) ? 1 : below(4),
		.opcode = opcodes[below(sizeof(opcodes))],
		.flags = (below(8) ? 0 : NVC_FUA) | (below(4) ? NVC_DEALLOCATE : 0),
	};
	static const u8 of_keys[] = {
		NVC_KV_STORE, NVC_KV_STORE, NVC_KV_STORE, NVC_KV_RETRIEVE, NVC_KV_DELETE,
		NVC_KV_LIST, NVC_KV_EXIST, NVC_FLUSH,
	};
	u32 i;

	cmd.nlb = nvc_min(1 + below(below(4) ? 20 : 600), config.blocks - cmd.slba);
	if (config.kind == NVC_KV && below(8)) {
		cmd.opcode = of_keys[below(sizeof(of_keys))];
		cmd.slba = below(50) << 2;
		cmd.action = 1 + below(16);
		cmd.nlb = below(config.model.kv_value << 10);
		return cmd;
	}
	if (config.kind == NVC_ZNS && below(4)) {
		u32 zone = config.model.zone_size << 10 >> config.block_shift;

		cmd.opcode = of_zones[below(sizeof(of_zones))];
		cmd.slba = cmd.slba / zone * zone;
		cmd.action = below(8) ? 1 + below(5) : 0x10 + below(2);
		cmd.flags = below(4) ? 0 : below(32);
	}
	random_place(&cmd, config.model.fdp_handles);
	if (config.kind == NVC_SSD && config.model.fdp_handles && !below(16)) {
		random_update(&cmd, config.model.fdp_handles, ranges);
		return cmd;
	}
	if (cmd.opcode != NVC_DSM && cmd.opcode != NVC_COPY)
		return cmd;
	cmd.nlb = 1 + below(3);
	for (i = 0; i < cmd.nlb; i++) {
		ranges[i].slba = below(config.blocks);
		ranges[i].nlb = below(nvc_min(100, config.blocks - ranges[i].slba) + 1);
	}
	return cmd;
}

static bool has_ssd(void)
{
	return config.kind == NVC_SSD || config.kind == NVC_ZNS || config.kind == NVC_KV;
}

static void audit(const struct nvc *c)
{
	const char *wrong = has_ssd() ? batch_audit(c) : NULL;

	if (wrong) {
		fprintf(stderr, "seed %llu: must hold: %s\n", round_seed, wrong);
		exit(1);
	}
}

static void use(struct nvc *c, u32 commands)
{
	while (commands--) {
		struct nvc_range ranges[8];
		struct nvc_cmd cmd = random_cmd(ranges);
		struct nvc_decision d;

		nvc_submit(c, &cmd, ranges, &d);
		CHECK(d.target >= cmd.now);
		if (!below(16))
			audit(c);
	}
	audit(c);
}

static void change_model(struct nvc *c)
{
	random_live(&config.model);
	CHECK(!nvc_set_model(c, clock_ns, &config.model));
}

static void cut(struct nvc *c)
{
	static struct nvc_lost lost[MAX_UNDO];
	u64 ready;

	CHECK(nvc_undo_units(c) <= MAX_UNDO);
	CHECK(nvc_cut(c, clock_ns, lost, &ready) <= nvc_undo_units(c));
	audit(c);
}

static u64 number(void)
{
	switch (below(6)) {
	case 0:
		return 0;
	case 1:
		return ~0ULL;
	case 2:
		return any();
	default:
		return below(300);
	}
}

/* A number: another, a little more or less, or the same as one elsewhere in its part. */
static void change(u8 *at, u32 width, const u8 *other)
{
	u64 value = 0;

	memcpy(&value, at, width);
	switch (below(4)) {
	case 0:
		value ^= 1ULL << below(8 * width);
		break;
	case 1:
		value += below(5) - 2;
		break;
	case 2:
		memcpy(&value, other, width);
		break;
	default:
		value = number();
	}
	memcpy(at, &value, width);
}

/* Of an array the same field of every element, or one number of any part. */
static void change_part(u8 *part, size_t size)
{
	static const u32 strides[] = { 4, 8, sizeof(struct ssd_slot), sizeof(struct ssd_undo) };
	u32 width = 1 << (below(4) ? 2 + below(2) : below(4));
	u64 from = below(size / width) * width;
	u64 other = below(size / width) * width;
	u32 stride = below(16) ? size : strides[below(ARRAY_SIZE(strides))];

	change(part + from, width, part + other);
	for (other = from; other + stride + width <= size; other += stride)
		memmove(part + other + stride, part + from, width);
}

/* Where in the image each part of a device is. */
static void change_image(const struct nvc *like, u8 *image, u64 size, u32 changes)
{
	struct nvc_part parts[NVC_MAX_PARTS];
	u32 n = like->media->parts(like, parts);
	u64 common = size;
	u32 i, k;

	for (i = 0; i < n; i++)
		common -= parts[i].bytes;
	while (changes--) {
		u64 start = common;

		k = below(n + 1);
		for (i = 0; i + 1 < k; i++)
			start += parts[i].bytes;
		if (!k)
			change_part(image, common);
		else if (parts[k - 1].bytes)
			change_part(image + start, parts[k - 1].bytes);
	}
}

/* A device like this one, by a snapshot whose checksum is right; NULL if it is refused. */
static struct nvc *thawed(struct nvc_snapshot *snapshot, const u8 *image)
{
	struct nvc *c = make_device(&config);
	struct nvc_snapshot loaded;

	load_image(c, snapshot, image);
	nvc_freeze(c, &loaded);
	snapshot->checksum = loaded.checksum;
	CHECK(!nvc_init(c, &config));
	if (!load_image(c, snapshot, image))
		return c;
	free(c);
	return NULL;
}

/* A unit that lies somewhere; 0 if there is none. */
static u32 mapped_unit(const struct ssd *s)
{
	u32 unit = s->shape.units;

	while (--unit && s->a.l2p[unit] == SSD_NONE)
		;
	return unit;
}

static void swap_units(struct ssd *s, u32 a, u32 b)
{
	u32 place = s->a.l2p[a];

	s->a.l2p[a] = s->a.l2p[b];
	s->a.l2p[b] = place;
}

/* What chance would hardly ever come upon, and must be refused. False if it cannot be said here. */
static bool lie(struct ssd *s)
{
	struct ssd_undo undo = { .seq = 1, .count = 1 };
	u32 unit = mapped_unit(s);
	u32 i;

	switch (below(14)) {
	case 0: /* no place in the buffer is ever free */
		for (i = 0; i < s->shape.slots; i++)
			s->a.slots[i].done = SSD_NEVER;
		return true;
	case 1: /* collection is behind the end of its line */
		s->gc.word = s->shape.words;
		return s->gc.victim != SSD_NONE;
	case 2: /* a cut brings back what lies where another is */
		if (!unit || !s->shape.undos)
			return false;
		undo.old = s->a.l2p[unit];
		s->a.undo[0] = undo;
		return true;
	case 3: /* the same, to where something is yet to be written */
		for (i = 0; i < SSD_STREAMS && s->streams[i].line == SSD_NONE; i++)
			;
		if (!s->shape.undos || i == SSD_STREAMS || s->streams[i].word == s->shape.words)
			return false;
		undo.old = (s->streams[i].line + 1) * s->shape.per_line - 1;
		s->a.undo[0] = undo;
		return true;
	case 4: /* two units in one place */
		if (unit && s->a.l2p[0] == SSD_NONE)
			return false;
		s->a.l2p[0] = s->a.l2p[unit];
		return unit;
	case 5: /* two words in one place of the buffer, or one stream on the line of another */
		for (i = SSD_PLACED; i + 1 < SSD_KEPT; i++)
			if (s->streams[i].fill && s->streams[i + 1].fill)
				break;
		s->streams[i].slot = s->streams[i + 1].slot;
		return i + 1 < SSD_KEPT;
	case 6: /* more was written through a handle than was written */
		s->placement.ruhs[below(NVC_MAX_RUHS)].host_units++;
		return s->shape.handles;
	case 7: /* a line that a stream wrote which there is not */
		for (i = 0; i < s->shape.lines && s->a.lines[i].state != SSD_CLOSED; i++)
			;
		if (i == s->shape.lines)
			return false;
		s->a.lines[i].stream = s->shape.handles ? SSD_COLD : SSD_PLACED;
		return true;
	case 8: /* what a host did is told of the controller */
		s->placement.noted[1] = 1;
		s->placement.events[1][0] = (struct nvc_fdp_event){ .type = NVC_FDP_BAD_PID };
		return true;
	case 9: /* a page of the map where data lie, or the other way round */
		i = s->shape.units + below(s->shape.map_pages + 1);
		if (i == ssd_all_units(&s->shape) || s->a.l2p[i] == SSD_NONE || !unit)
			return false;
		swap_units(s, unit, i);
		return true;
	case 10: /* a page of the map in memory twice */
		if (s->shape.frames < 2 || s->a.frames[0].page == SSD_NONE)
			return false;
		s->a.frames[1] = s->a.frames[0];
		return true;
	case 11: /* a line of the map is collected as if there were data on it */
		for (i = 0; i < s->shape.lines; i++)
			if (s->a.lines[i].state == SSD_CLOSED && s->a.lines[i].stream == SSD_MAP)
				break;
		if (s->gc.victim != SSD_NONE || i == s->shape.lines)
			return false;
		s->gc.victim = i;
		s->gc.word = 0;
		return true;
	case 12: /* the hand is beyond the last frame */
		s->hand = s->shape.frames + 1;
		return true;
	default: /* a ring that is shorter than its lines are many */
		if (s->free_lines < 2)
			return false;
		s->a.lines[s->free_head].next = s->free_head;
		return true;
	}
}

/* The same of keys. */
static bool lie_of_keys(struct nvc *c)
{
	struct kv *kv = kv_of(c);
	u32 at = nvc_kv_following(kv, 0);
	struct kv_slot *slot = &kv->slots[at];

	if (at == kv->shape.slots)
		return false;
	switch (below(6)) {
	case 0: /* a chain that goes round */
		if (slot->head == SSD_NONE)
			return false;
		kv->next[slot->head] = slot->head;
		return true;
	case 1: /* a value longer than its chain */
		slot->size += 4096;
		return true;
	case 2: /* a unit that nobody has */
		kv->fresh--;
		return true;
	case 3: /* a key that is not where it is looked for */
		slot->word[0] ^= 1;
		return nvc_kv_find(c, &(struct kv_key){
			.word = { slot->word[0], slot->word[1] }, .length = slot->length,
		}) != slot;
	case 4: /* more keys than there may be */
		kv->keys++;
		return true;
	default: /* the free units go round */
		if (!kv->free)
			return false;
		kv->next[kv->free_head] = kv->free_head;
		return true;
	}
}

/* A snapshot with a lie in it. */
static void check_lie(struct nvc *c)
{
	struct nvc_snapshot snapshot;
	u8 *image;

	if (config.kind == NVC_KV ? !lie_of_keys(c) :
				    config.kind != NVC_SSD || !lie(ssd_of(c)))
		return;
	image = save_image(c, &snapshot);
	CHECK(!thawed(&snapshot, image));
	free(image);
}

static void use_all(struct nvc *c)
{
	struct nvc_ssd_stats stats;

	audit(c);
	nvc_stats(c, &stats);
	use(c, 30);
	if (has_ssd())
		change_model(c);
	cut(c);
	use(c, 20);
	nvc_wake(c, clock_ns = below(1 << 30));
	use(c, 20);
	cut(c);
	use(c, 5);
}

/* A few small ones, some of them beside a namespace without. */
static void random_zones(void)
{
	struct nvc_config zoned = config;
	struct nvc_model *m = &zoned.model;

	zoned.kind = NVC_ZNS;
	zoned.model.fdp_handles = 0;
	zoned.model.mapping_cache = 0;
	zoned.blocks = (4 << 20) >> config.block_shift;
	m->zone_size = 64 << below(4);
	m->zone_capacity = below(2) ? 0 : 4 * (1 + below(m->zone_size / 4));
	m->zone_max_active = below(6);
	m->zone_max_open = below(4);
	m->zone_extension = below(2);
	m->zone_conventional = below(3);
	m->zrwa_zones = below(2);
	m->zrwa_flush = 4;
	m->zrwa_size = 16;
	if (!nvc_check(&zoned))
		config = zoned;
}

/* Small values. */
static void random_keys(void)
{
	struct nvc_config keys = config;

	keys.kind = NVC_KV;
	keys.model.fdp_handles = 0;
	keys.model.mapping_cache = 0;
	keys.model.kv_value = 1 + below(32);
	keys.model.kv_keys = below(2) ? 0 : 1 + below(100);
	if (!nvc_check(&keys))
		config = keys;
}

static void random_config(void)
{
	u32 which = below(3);

	config = random_drive(MAX_BLOCKS);
	if (which == 1)
		random_zones();
	else if (which == 2)
		random_keys();
	if (below(8))
		return;
	config.kind = below(2) ? NVC_NVM : NVC_HDD;
	config.timing.read_time = 1 + below(1000);
	CHECK(!nvc_check(&config));
}

static void one_round(void)
{
	struct nvc_snapshot snapshot;
	struct nvc *c;
	u8 *image;
	u32 changes = below(6);

	alarm(SECONDS);
	clock_ns = 0;
	random_config();
	c = make_device(&config);
	use(c, below(4) ? 10 + below(60) : 300);
	image = save_image(c, &snapshot);
	change_image(c, image, snapshot.size, changes);
	check_lie(c);
	free(c);
	c = thawed(&snapshot, image);
	free(image);
	CHECK(c || changes);
	if (!c)
		return;
	image = save_image(c, &snapshot);
	use_all(c);
	free(c);
	c = make_device(&config);
	CHECK(!load_image(c, &snapshot, image));
	free(image);
	free(c);
}
