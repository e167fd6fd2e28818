// SPDX-License-Identifier: GPL-2.0-or-later
/* Asynchronous events (NVMe 1.4, 5.2), and the health that gives rise to some. */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include "nvlab.h"

/* Bits of the Asynchronous Event Configuration. */
#define NVL_ASYNC_TEMPERATURE	BIT(1)
#define NVL_ASYNC_NAMESPACE	BIT(8)

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
	[NVL_EVENT_TEMPERATURE] = { NVME_AER_SMART, 1, NVME_LOG_SMART, NVL_ASYNC_TEMPERATURE },
	[NVL_EVENT_NAMESPACE] = { NVME_AER_NOTICE, 0, NVME_LOG_CHANGED_NS, NVL_ASYNC_NAMESPACE },
	[NVL_EVENT_ZONES] = {
		NVME_AER_NOTICE, 0xef, NVL_LOG_ZONES, NVL_ASYNC_ZONES, NVL_FIRST_NSID
	},
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
	ctrl->hot = false;
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
 * nvl_health_warns() - whether the temperature is beyond a threshold
 * @ctrl: the controller
 *
 * Return: true if so.
 */
bool nvl_health_warns(const struct nvl_ctrl *ctrl)
{
	u16 kelvin = READ_ONCE(ctrl->set->temperature);

	return kelvin >= ctrl->feat.temperature[0] || kelvin <= ctrl->feat.temperature[1];
}

/**
 * nvl_health_poll() - see whether the host must be warned
 * @ctrl: the controller
 *
 * Once, until it is well again.
 */
void nvl_health_poll(struct nvl_ctrl *ctrl)
{
	bool hot = nvl_health_warns(ctrl) && ctrl->feat.async_config & NVL_ASYNC_TEMPERATURE;

	if (hot && !ctrl->hot)
		set_bit(NVL_EVENT_TEMPERATURE, &ctrl->events);
	ctrl->hot = hot;
}
