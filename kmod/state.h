/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a drive holds, as others read and write it: between state.c and state_file.c. */
#ifndef NVLAB_STATE_H
#define NVLAB_STATE_H

#include <linux/kref.h>
#include <linux/miscdevice.h>

#include "nvlab.h"

/* The most that is copied at a time. */
#define NVL_STATE_PIECE	SZ_64K

/**
 * struct nvl_state - the door to what a drive holds
 * @ref: the subsystem's, and each opener's
 * @misc: the device node
 * @name: of the device node
 * @lock: held to read or write, and to turn the power on or off
 * @subsys: the subsystem; NULL while the power goes on or off, and when it is gone
 * @live: the power is on: it may only be read, and commands wait meanwhile
 * @users: open files
 * @seq: of the latest input when it was opened: what is read is of that moment
 * @header: of the image, as it was when it was opened, or as it was written
 * @image: bytes of the image
 * @loaded: bytes of header and image that were written, from the first on, by this opener
 * @raw: some were, by whichever opener: the core may not run before it took them
 * @piece: on its way
 */
struct nvl_state {
	struct kref ref;
	struct miscdevice misc;
	char name[NVL_NAME_MAX + 16];
	struct mutex lock;	/* everything below */
	struct nvl_subsys *subsys;
	bool live;
	unsigned int users;
	u64 seq;
	struct nvc_snapshot header;
	u64 image;
	u64 loaded;
	bool raw;
	u8 *piece;
};

/**
 * nvl_state_image() - where the image begins in the file
 *
 * Return: bytes.
 */
static inline u64 nvl_state_image(void)
{
	return sizeof(struct nvc_snapshot);
}

/* state.c */
void nvl_state_put(struct nvl_state *state);

/* state_file.c */
extern const struct file_operations nvl_state_fops;

#endif
