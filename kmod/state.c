// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Who may look at what a drive holds, or change it, and when: the life of
 * /dev/nvlab-state-NAME. state_file.c says what is in it.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/mm.h>
#include <linux/slab.h>

#include "state.h"
#include "trace.h"

static void nvl_state_destroy(struct kref *ref)
{
	struct nvl_state *state = container_of(ref, struct nvl_state, ref);

	kvfree(state->piece);
	kfree(state);
}

/**
 * nvl_state_put() - let go of it
 * @state: the state
 */
void nvl_state_put(struct nvl_state *state)
{
	kref_put(&state->ref, nvl_state_destroy);
}

static int nvl_state_register(struct nvl_state *state)
{
	state->misc.minor = MISC_DYNAMIC_MINOR;
	state->misc.name = state->name;
	state->misc.fops = &nvl_state_fops;
	state->misc.mode = 0600;
	return misc_register(&state->misc);
}

/**
 * nvl_state_show() - let others in
 * @subsys: the subsystem, its power off
 *
 * Return: 0 or an errno.
 */
int nvl_state_show(struct nvl_subsys *subsys)
{
	struct nvl_state *state;
	int err;

	state = kzalloc(sizeof(*state), GFP_KERNEL);
	if (!state)
		return -ENOMEM;
	kref_init(&state->ref);
	mutex_init(&state->lock);
	state->subsys = subsys;
	snprintf(state->name, sizeof(state->name), "nvlab-state-%s", subsys->name);
	state->piece = kvmalloc(NVL_STATE_PIECE, GFP_KERNEL);
	err = state->piece ? nvl_state_register(state) : -ENOMEM;
	if (err)
		nvl_state_put(state);
	else
		subsys->state = state;
	return err;
}

/**
 * nvl_state_hide() - undo nvl_state_show()
 * @subsys: the subsystem, its power off
 */
void nvl_state_hide(struct nvl_subsys *subsys)
{
	struct nvl_state *state = subsys->state;

	mutex_lock(&state->lock);
	state->subsys = NULL;
	mutex_unlock(&state->lock);
	misc_deregister(&state->misc);
	nvl_state_put(state);
}

/**
 * nvl_state_enter() - about to tell the core something, with the power on or off
 * @subsys: the subsystem
 *
 * Return: 0, or -EBUSY (somebody has its state open, or has written one).
 */
int nvl_state_enter(struct nvl_subsys *subsys)
{
	struct nvl_state *state = subsys->state;

	if (!state)
		return 0;
	mutex_lock(&state->lock);
	if (!state->subsys || (!state->users && !state->raw))
		return 0;
	mutex_unlock(&state->lock);
	return -EBUSY;
}

/**
 * nvl_state_leave() - undo nvl_state_enter()
 * @subsys: the subsystem
 */
void nvl_state_leave(struct nvl_subsys *subsys)
{
	if (subsys->state)
		mutex_unlock(&subsys->state->lock);
}

/* What was written becomes the state of the core, if it can be one. */
static int nvl_state_take(struct nvl_state *state)
{
	struct nvl_subsys *subsys = state->subsys;
	int err = -EBADMSG;

	if (!state->raw)
		return 0;
	if (state->loaded >= nvl_state_image() + state->image)
		err = nvc_thaw(subsys->core, &state->header);
	if (err)
		pr_err("%s: what was written to %s is no state of this device, or not all of it\n",
		       subsys->name, state->name);
	else
		nvl_core_taken(subsys, &state->header);
	state->loaded = 0;
	state->raw = false;
	return err;
}

/**
 * nvl_state_close() - the power goes on: nobody else may see or change anything
 * @subsys: the subsystem
 *
 * Return: 0, -EBUSY (somebody has it open), or -EBADMSG (what was written is no
 * state of this device, and the subsystem is to be made anew).
 */
int nvl_state_close(struct nvl_subsys *subsys)
{
	struct nvl_state *state = subsys->state;
	int err = -EBUSY;

	mutex_lock(&state->lock);
	if (!state->users)
		err = nvl_state_take(state);
	if (!err)
		state->subsys = NULL;
	mutex_unlock(&state->lock);
	return err;
}

/**
 * nvl_state_part() - the power goes off: nobody may look until nvl_state_open()
 * @subsys: the subsystem
 */
void nvl_state_part(struct nvl_subsys *subsys)
{
	struct nvl_state *state = subsys->state;

	mutex_lock(&state->lock);
	state->subsys = NULL;
	WRITE_ONCE(subsys->paused, 0);
	mutex_unlock(&state->lock);
}

/**
 * nvl_state_open() - the power is on, or off: undo nvl_state_close() or nvl_state_part()
 * @subsys: the subsystem
 */
void nvl_state_open(struct nvl_subsys *subsys)
{
	struct nvl_state *state = subsys->state;

	mutex_lock(&state->lock);
	state->live = subsys->on;
	state->subsys = subsys;
	mutex_unlock(&state->lock);
}
