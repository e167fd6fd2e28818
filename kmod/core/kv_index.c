// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The index: a hash table whose keys lie in the order of their hashes, each at
 * its home or as near behind it as those before it allow. So a key that is not
 * there is told after a few steps, and all keys can be listed from any one on.
 * See Amble and Knuth, Ordered hash tables, The Computer Journal 17 (1974).
 */
#include "kv.h"

/* The lowest @bytes of a word, zeros above. */
static u64 lowest(u64 word, u32 bytes)
{
	if (bytes >= sizeof(word))
		return word;
	return bytes ? word & ~0ULL >> (8 * (sizeof(word) - bytes)) : 0;
}

/* The key of a command; what is behind its length does not count. */
struct kv_key nvc_kv_key(const struct nvc_cmd *cmd)
{
	u32 length = nvc_min(cmd->action, NVC_KV_MAX_KEY);

	return (struct kv_key){
		.word[0] = lowest(cmd->slba, length),
		.word[1] = lowest(cmd->key, length > 8 ? length - 8 : 0),
		.length = length,
	};
}

/* Whoever does not know the seed cannot choose keys that meet in one place. */
static u64 hash(const struct nvc *c, const struct kv_slot *slot)
{
	u64 state = c->config.seed + slot->length;

	state = nvc_next_random(&state) ^ slot->word[0];
	state = nvc_next_random(&state) ^ slot->word[1];
	return nvc_next_random(&state);
}

static u32 home_of(const struct kv *kv, u64 hash)
{
	return (hash >> 32) * kv->shape.homes >> 32;
}

u64 nvc_kv_home(const struct nvc *c, const struct kv_slot *slot)
{
	return home_of(kv_of(c), hash(c, slot));
}

/* Keys of one hash are in the order of what they are. */
static bool before(const struct kv_slot *a, u64 a_hash, const struct kv_slot *b, u64 b_hash)
{
	if (a_hash != b_hash)
		return a_hash < b_hash;
	if (a->word[0] != b->word[0])
		return a->word[0] < b->word[0];
	if (a->word[1] != b->word[1])
		return a->word[1] < b->word[1];
	return a->length < b->length;
}

bool nvc_kv_before(const struct nvc *c, const struct kv_slot *a, const struct kv_slot *b)
{
	return before(a, hash(c, a), b, hash(c, b));
}

static struct kv_slot slot_of(const struct kv_key *key)
{
	return (struct kv_slot){
		.word = { key->word[0], key->word[1] }, .head = SSD_NONE, .length = key->length,
	};
}

static bool same(const struct kv_slot *a, const struct kv_slot *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->length == b->length;
}

/* Where a key is, or would be. */
u32 nvc_kv_seek(const struct nvc *c, const struct kv_key *key, bool *found)
{
	const struct kv *kv = kv_of(c);
	struct kv_slot wanted = slot_of(key);
	u64 code = hash(c, &wanted);
	u32 at = home_of(kv, code);

	while (nvc_map_bits(&kv->used, at) & 1 &&
	       before(&kv->slots[at], hash(c, &kv->slots[at]), &wanted, code))
		at++;
	*found = nvc_map_bits(&kv->used, at) & 1 && same(&kv->slots[at], &wanted);
	return at;
}

/* The slot of a key, or NULL. */
struct kv_slot *nvc_kv_find(const struct nvc *c, const struct kv_key *key)
{
	bool found;
	u32 at = nvc_kv_seek(c, key, &found);

	return found ? &kv_of(c)->slots[at] : NULL;
}

/* The first empty slot from @at on, where a key that is not there would be. */
static u32 first_empty(const struct kv *kv, u32 at)
{
	bool used;
	u64 run = nvc_map_run(&kv->used, (struct nvc_extent){ at, kv->shape.slots - at }, &used);

	return used ? at + run : at;
}

/* Whether there is room for a key that is not there. All that make way stay within reach. */
bool nvc_kv_fits(const struct nvc *c, const struct kv_key *key)
{
	const struct kv *kv = kv_of(c);
	struct kv_slot wanted = slot_of(key);
	bool found;
	u32 at = nvc_kv_seek(c, key, &found);

	return kv->keys < kv->shape.max_keys &&
	       first_empty(kv, at) <= nvc_kv_home(c, &wanted) + KV_REACH;
}

/* A slot for a key that is not there, and fits. */
struct kv_slot *nvc_kv_insert(struct nvc *c, const struct kv_key *key)
{
	struct kv *kv = kv_of(c);
	bool found;
	u32 at = nvc_kv_seek(c, key, &found);
	u32 empty = first_empty(kv, at);

	nvc_map_set(&kv->used, (struct nvc_extent){ empty, 1 });
	for (; empty > at; empty--)
		kv->slots[empty] = kv->slots[empty - 1];
	kv->slots[at] = slot_of(key);
	kv->keys++;
	return &kv->slots[at];
}

/* Takes a key out. Those behind it that are not at home move up. */
void nvc_kv_remove(struct nvc *c, struct kv_slot *slot)
{
	struct kv *kv = kv_of(c);
	u32 at = slot - kv->slots;
	u32 next = at + 1;

	while (next < kv->shape.slots && nvc_map_bits(&kv->used, next) & 1 &&
	       nvc_kv_home(c, &kv->slots[next]) < next) {
		kv->slots[next - 1] = kv->slots[next];
		next++;
	}
	nvc_map_clear(&kv->used, (struct nvc_extent){ next - 1, 1 });
	kv->keys--;
}

/* The first slot from @at on that has a key, or how many slots there are. */
u32 nvc_kv_following(const struct kv *kv, u32 at)
{
	u32 left = kv->shape.slots - at;
	bool used;
	u64 run;

	if (!left)
		return at;
	run = nvc_map_run(&kv->used, (struct nvc_extent){ at, left }, &used);
	return used ? at : at + run;
}
