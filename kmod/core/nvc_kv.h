/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Key value namespaces, by the Key Value command set 1.0. On a device of kind
 * NVC_KV namespace 1 holds values by keys of 1 to 16 bytes; there is no other.
 * Declarations only, as in nvc.h; the same lock.
 *
 * Its commands are commands as any: see nvc_submit() and struct nvc_cmd, which
 * says where their fields go. Here is what carries their data, and what Identify
 * tells. What goes to the host is in its byte order, little-endian.
 */
#ifndef NVC_KV_H
#define NVC_KV_H

#include "nvc.h"

/**
 * enum nvc_kv_size - of keys, and of what goes to the host
 * @NVC_KV_MAX_KEY: bytes of the longest key
 * @NVC_KV_LIST_HEAD: bytes in front of the keys of a List: how many
 * @NVC_KV_LIST_KEY: bytes in front of each: its length. It ends at a multiple of four
 */
enum nvc_kv_size {
	NVC_KV_MAX_KEY = 16,
	NVC_KV_LIST_HEAD = 4,
	NVC_KV_LIST_KEY = 2,
};

/**
 * enum nvc_kv_store - options of Store. With both nothing can be stored; others
 *	(compression) mean nothing here, as do those of Retrieve
 * @NVC_KV_REPLACE: only if the key exists
 * @NVC_KV_ADD: only if it does not
 */
enum nvc_kv_store {
	NVC_KV_REPLACE = 1,
	NVC_KV_ADD = 2,
};

/**
 * struct nvc_kv_space - a key value namespace, for Identify
 * @capacity: bytes for values, each of which takes whole units of 4 KiB: NSZE
 * @used: of these, taken: NUSE
 * @keys: that there are
 * @max_keys: that there may be
 * @max_key: bytes of the longest key
 * @max_value: bytes of the largest value
 */
struct nvc_kv_space {
	u64 capacity;
	u64 used;
	u32 keys;
	u32 max_keys;
	u32 max_key;
	u32 max_value;
};

/**
 * struct nvc_kv_cursor - the rest of a value
 * @unit: where it begins
 * @bytes: of it
 */
struct nvc_kv_cursor {
	u32 unit;
	u32 bytes;
};

/**
 * nvc_kv_problem() - why there can be no key value device of this configuration
 * @config: the configuration, of kind NVC_KV, its model within its limits
 *
 * Return: what is wrong with which parameter, in words, or NULL. nvc_check()
 * says -EINVAL then.
 */
const char *nvc_kv_problem(const struct nvc_config *config);

/**
 * nvc_kv_space() - look at a key value namespace
 * @c: the device
 * @nsid: any number
 * @space: filled in
 *
 * Return: whether it is one.
 */
bool nvc_kv_space(const struct nvc *c, u32 nsid, struct nvc_kv_space *space);

/**
 * nvc_kv_begin() - where the data of a Store or Retrieve lie
 * @c: the device
 * @cmd: the command, which nvc_submit() answered with NVC_DATA_VALUE
 * @cursor: for nvc_kv_next(): all bytes that go to or come from the host
 */
void nvc_kv_begin(const struct nvc *c, const struct nvc_cmd *cmd, struct nvc_kv_cursor *cursor);

/**
 * nvc_kv_next() - the next piece of a value
 * @c: the device
 * @cursor: of nvc_kv_begin(); goes on behind the piece
 * @at: its first byte of the medium
 *
 * Return: bytes that lie there one behind the other, or 0 at the end.
 */
u32 nvc_kv_next(const struct nvc *c, struct nvc_kv_cursor *cursor, u64 *at);

/**
 * nvc_kv_list() - the data of a List
 * @c: the device
 * @cmd: the command, which nvc_submit() answered with NVC_DATA_REPORT
 * @buffer: for the host; NULL if only the size matters
 * @bytes: of @buffer, at least NVC_KV_LIST_HEAD
 *
 * Keys from that of the command on, whether it exists or not; from the first if
 * it has no length. Their order is by a number made of each key, so a key that is
 * there all the time is listed once, whatever comes and goes between two Lists.
 *
 * Return: bytes filled; what is behind them means nothing.
 */
u32 nvc_kv_list(const struct nvc *c, const struct nvc_cmd *cmd, u8 *buffer, u32 bytes);

#endif
