// SPDX-License-Identifier: GPL-2.0-or-later
/* Asynchronous events (NVMe 1.4, 5.2), and the health that gives rise to some. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/jiffies.h>

#include "nvlab.h"
#include "trace.h"

/* Bits of the Asynchronous Event Configuration; those below are SMART's Critical Warnings. */
#define NVL_ASYNC_NAMESPACE	BIT(8)

#define NVL_HEALTH_EVERY	(HZ / 10)

/* What an event says, and which log tells more. */
struct nvl_event_kind {
	u8 type;
	u8 information;
	u8 log;
	u32 wanted;	/* the bit that enables it, or 0 */
	u32 nsid;	/* what it is about, or 0 */
};

static const struct nvl_event_kind nvl_event_kinds[] = {
	[NVL_EVENT_DOORBELL] = { NVME_AER_ERROR, 1, NVME_LOG_ERROR, 0 },
	[NVL_EVENT_TEMPERATURE] = {
		NVME_AER_SMART, 1, NVME_LOG_SMART, NVME_SMART_CRIT_TEMPERATURE
	},
	[NVL_EVENT_NAMESPACE] = { NVME_AER_NOTICE, 0, NVME_LOG_CHANGED_NS, NVL_ASYNC_NAMESPACE },
	[NVL_EVENT_ZONES] = {
		NVME_AER_NOTICE, 0xef, NVL_LOG_ZONES, NVL_ASYNC_ZONES, NVL_FIRST_NSID
	},
	[NVL_EVENT_SPARE] = { NVME_AER_SMART, 2, NVME_LOG_SMART, NVME_SMART_CRIT_SPARE },
	/* reliability: 1.4 counts the medium's being read-only among what compromises it */
	[NVL_EVENT_MEDIA] = { NVME_AER_SMART, 0, NVME_LOG_SMART, NVME_SMART_CRIT_MEDIA },
};

/**
 * nvl_event() - something happened that the host may want to know; any context
 * @ctrl: the controller
 * @event: what
 */
void nvl_event(struct nvl_ctrl *ctrl, enum nvl_event event)
{
	set_bit(event, &ctrl->events);
	nvl_control_kick(ctrl);
}

/**
 * nvl_events_reset() - as after a controller reset
 * @ctrl: the controller
 */
void nvl_events_reset(struct nvl_ctrl *ctrl)
{
	ctrl->nr_aers = 0;
	ctrl->events = 0;
	ctrl->masked = 0;
	ctrl->warned = 0;
	bitmap_zero(ctrl->changed, NVC_MAX_NS + 1);
}

/**
 * nvl_events_seen() - the host read a log: its events may be sent again
 * @ctrl: the controller
 * @log: the log's identifier
 */
void nvl_events_seen(struct nvl_ctrl *ctrl, u8 log)
{
	unsigned int event;

	for (event = 0; event < ARRAY_SIZE(nvl_event_kinds); event++)
		if (nvl_event_kinds[event].log == log)
			__clear_bit(event, &ctrl->masked);
}

/* Those that the host did not enable are forgotten. */
static unsigned long nvl_events_wanted(struct nvl_ctrl *ctrl)
{
	unsigned int event;

	for (event = 0; event < ARRAY_SIZE(nvl_event_kinds); event++) {
		u32 wanted = nvl_event_kinds[event].wanted;

		if (wanted && !(ctrl->feat.async_config & wanted))
			clear_bit(event, &ctrl->events);
	}
	return READ_ONCE(ctrl->events) & ~ctrl->masked;
}

/**
 * nvl_events_post() - tell the host of an event, if it waits for one
 * @ctrl: the controller
 *
 * An event is not repeated until the host has read its log.
 *
 * Return: true if it was told.
 */
bool nvl_events_post(struct nvl_ctrl *ctrl)
{
	unsigned long ready = nvl_events_wanted(ctrl);
	const struct nvl_event_kind *kind;
	unsigned int event;

	if (!ready || !ctrl->nr_aers || !nvl_ctrl_acts(ctrl) || !nvl_cq_room(ctrl->acq))
		return false;
	event = __ffs(ready);
	kind = &nvl_event_kinds[event];
	clear_bit(event, &ctrl->events);
	__set_bit(event, &ctrl->masked);
	ctrl->acq->promised++;
	nvl_cq_post(ctrl->acq, ctrl->asq, ctrl->aers[--ctrl->nr_aers], 0,
		    (u64)kind->nsid << 32 | kind->log << 16 | kind->information << 8 | kind->type);
	return true;
}

/**
 * nvl_health_warns() - what is critical
 * @ctrl: the controller
 * @health: how worn its device is
 *
 * Return: bits of SMART's Critical Warning.
 */
u8 nvl_health_warns(const struct nvl_ctrl *ctrl, const struct nvc_health *health)
{
	u16 kelvin = READ_ONCE(ctrl->set->temperature);
	u8 warns = 0;

	if (health->spare < NVL_SPARE_THRESHOLD)
		warns |= NVME_SMART_CRIT_SPARE;
	if (kelvin >= ctrl->feat.temperature[0] || kelvin <= ctrl->feat.temperature[1])
		warns |= NVME_SMART_CRIT_TEMPERATURE;
	if (health->read_only)
		warns |= NVME_SMART_CRIT_MEDIA;
	return warns;
}

/* Wear is slow, and looking at it takes the core's lock. */
static const struct nvc_health *nvl_health_look(struct nvl_ctrl *ctrl)
{
	if (!ctrl->looked || time_after(jiffies, ctrl->looked + NVL_HEALTH_EVERY)) {
		nvl_core_health(ctrl->subsys, &ctrl->health);
		ctrl->looked = jiffies | 1; /* never 0 */
	}
	return &ctrl->health;
}

/**
 * nvl_health_poll() - see whether the host must be warned
 * @ctrl: the controller
 *
 * Once of each warning, until it is well again.
 */
void nvl_health_poll(struct nvl_ctrl *ctrl)
{
	u8 warns = nvl_health_warns(ctrl, nvl_health_look(ctrl)) & ctrl->feat.async_config;
	unsigned int event;

	for (event = 0; event < ARRAY_SIZE(nvl_event_kinds); event++)
		if (nvl_event_kinds[event].type == NVME_AER_SMART &&
		    nvl_event_kinds[event].wanted & warns & ~ctrl->warned)
			set_bit(event, &ctrl->events);
	ctrl->warned = warns;
}
