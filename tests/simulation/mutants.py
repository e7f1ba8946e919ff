"""The core with one rule taken out, compiled in memory, and the scenario that must notice.

A mutant is an exact piece of a source file and what stands there instead. The piece must occur exactly
once, so that the table cannot silently go stale when the core changes.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import bus.protocol
from bus.testing.network import Core
from tests.simulation import (
    broker_scenarios as brokers,
    clock_scenarios as clocks,
    node_scenarios as nodes,
    repair_scenarios as repairs,
    seal_scenarios as seals,
    type_scenarios as types,
)

FOLDER = Path(bus.protocol.__file__).parent


class Mutant(NamedTuple):
    """`old` in `bus/protocol/<file>.py` becomes `new`; then `scenario` must fail."""

    rule: int
    file: str
    old: str
    new: str
    scenario: Callable[[Core], None]

    def __str__(self) -> str:
        return f"rule{self.rule}-{self.scenario.__name__}-{' '.join(self.old.split())[:40]}"


def source(file: str) -> str:
    """The text of one module of the core."""
    return (FOLDER / f"{file}.py").read_text()


def core_of(mutant: Mutant) -> Core:
    """Fresh modules of the whole core, one of them changed; those in use are left alone."""
    changed = source(mutant.file).replace(mutant.old, mutant.new)
    name = f"bus.protocol.{mutant.file}"
    with no_core_loaded():
        module = ModuleType(name)
        module.__file__ = f"mutant of {name}"
        sys.modules[name] = module
        setattr(bus.protocol, mutant.file, module)
        exec(compile(changed, module.__file__, "exec"), module.__dict__)
        classes = (
            getattr(importlib.import_module(f"bus.protocol.{file}"), kind)
            for file, kind in (("engine", "Engine"), ("inbox", "Inbox"), ("lifecycle", "Lifecycle"))
        )
        return Core(*classes)


@contextmanager
def no_core_loaded() -> Generator[None]:
    """As if no module of the core had been imported yet; afterwards all is as before."""

    def take_out() -> dict[str, ModuleType]:
        taken = {name: module for name, module in sys.modules.items() if name.startswith("bus.protocol.")}
        for name in taken:
            del sys.modules[name]
            if hasattr(bus.protocol, short := name.rpartition(".")[2]):
                delattr(bus.protocol, short)
        return taken

    kept = take_out()
    try:
        yield
    finally:
        take_out()
        for name, module in kept.items():
            sys.modules[name] = module
            setattr(bus.protocol, name.rpartition(".")[2], module)


MUTANTS = [
    # 1: peer and baseline
    Mutant(1, "engine", "1 if young else beat.last + 1", "beat.last + 1",
           repairs.a_younger_log_is_heard_from_its_first_event),
    Mutant(1, "engine", "1 if young else beat.last + 1", "1",
           repairs.who_is_born_while_another_is_frozen_gets_no_history),
    Mutant(1, "engine", "        self._ticked = now\n        attended",
           "        self._born += max(0.0, now - self._ticked - step)\n"
           "        self._ticked = now\n        attended",
           repairs.who_is_born_while_another_is_frozen_gets_no_history),
    # 2: in step or hole
    Mutant(2, "peer", "self.target = max(self.target, min(beat.sent, self.last))", "pass",
           repairs.the_tail_before_a_silence_is_repaired),
    Mutant(2, "peer", "skip = self.next - header.first_seq", "skip = 0",
           repairs.an_overlap_is_delivered_once),
    Mutant(2, "peer", "if self._hold.used + len(frame) > self._hold.limit:", "if frame:",
           repairs.what_is_ahead_waits_for_the_hole),
    Mutant(2, "outlet", "        self._up_us = self._proven_us = newest_us\n",
           "        self._up_us = self._proven_us = newest_us\n        self.cursor = 1\n",
           repairs.a_rebuilt_link_goes_on_where_its_cursor_stood),
    Mutant(2, "engine", "if entry is None:  # all of it grew too old while the link was away", "if False:",
           repairs.a_log_that_grew_too_old_while_its_link_was_away_is_told_gone),
    Mutant(2, "outlet",
           "min([self.cursor, *again])", "self.cursor",
           brokers.what_no_server_confirmed_is_sent_again_and_delivered_once),
    Mutant(2, "outlet", "self.bound = max(MIN_FRAME, min(self.limit, max(full)) // 2)", "pass",
           brokers.who_cuts_off_the_hearers_of_large_frames_gets_small_ones),
    Mutant(2, "outlet", "min(MOST_TRUST, self._trust * 2)", "TRUST",
           brokers.a_size_that_killed_the_link_is_tried_less_and_less_often),
    Mutant(2, "peer", "self.target = max(self.target, min(beat.sent, self.last))", "pass",
           brokers.what_the_server_confirmed_and_lost_is_repaired),
    Mutant(2, "outlet", "extra = took - self.fastest", "extra = took",
           brokers.a_far_server_carries_large_frames),
    Mutant(2, "engine", "if last < log.last and (rest", "if False and (rest",
           brokers.small_entries_are_sent_together),
    Mutant(2, "engine", "(outlet.cursor > log.lane.base and outlet.gathers(now))", "False",
           brokers.a_busy_sender_makes_few_frames_for_a_near_server),
    Mutant(2, "outlet", "self.fastest < NEAR and any", "any",
           brokers.a_far_server_delays_nobody),
    # 3: asking
    Mutant(3, "peer", "ASK_AGAIN[min(self.tries, len(ASK_AGAIN) - 1)]", "1e9",
           repairs.a_fifth_lost_both_ways_at_a_long_round_trip_is_no_gap),
    Mutant(3, "peer", "self.stuck >= timeout and self.tries >= MIN_TRIES", "self.tries >= 4",
           repairs.a_fifth_lost_both_ways_at_a_long_round_trip_is_no_gap),
    Mutant(3, "repair", "if now - entry.repeated >= REPEAT_PAUSE:", "if True:",
           repairs.five_who_miss_the_same_get_it_once),
    Mutant(3, "engine", "outlet.frames_since_repeat + 1 >= REPEAT_SHARE", "True",
           repairs.repeats_leave_room_for_what_is_new),
    Mutant(3, "repair", "chain([lowest], self._log.following(lowest, room, now))", "[lowest]",
           repairs.an_idle_senders_events_are_repeated_together),
    Mutant(3, "outlet", "self.repeats.get(asker, ())), reverse=True)", "self.repeats.get(asker, ())))",
           repairs.what_the_others_wait_for_is_repeated_first),
    Mutant(3, "repair", "if outlet is peer.via), 0)", "if False), 0)",
           repairs.a_request_goes_where_the_peer_is),
    Mutant(3, "repair", "peer.tries // TRIES_ON_ONE_LINK", "0",
           repairs.a_deaf_link_does_not_keep_two_from_hearing_each_other_on_the_other),
    Mutant(3, "repair", "                outlet.repeats[asker] = firsts\n",
           "                outlet.repeats = {asker: firsts, **outlet.repeats}\n",
           brokers.the_backlog_of_one_keeps_no_other_waiting_for_a_single_event),
    Mutant(3, "peer", "        if not self.tries:\n", "        if False:\n",
           brokers.the_backlog_of_one_who_was_away_is_repaired_without_pauses),
    # 4: giving up
    Mutant(4, "peer", "if self.held > self.next:", "if False:",
           repairs.what_the_log_no_longer_holds_is_told_at_once),
    Mutant(4, "peer", "elif self.stuck >= timeout and self.tries >= MIN_TRIES:", "elif False:",
           repairs.whoever_is_not_heard_gets_a_gap_after_ten_seconds),
    Mutant(4, "peer", "before_ahead = max(self._ahead[0] - 1, self.next) if self._ahead else self.target",
           "before_ahead = self.target",
           repairs.only_what_was_waited_for_is_given_up),
    # 5: clocks count attended time
    Mutant(5, "engine", "step = min(max(0.0, now - self._ticked), MAX_STEP)", "step = now - self._ticked",
           clocks.a_frozen_receiver_judges_nobody),
    Mutant(5, "peer", "        if attended:\n", "        if True:\n",
           clocks.nobody_is_judged_while_the_broker_is_away),
    Mutant(5, "peer", "        if attended:\n", "        if True:\n",
           brokers.half_a_minute_without_a_broker_that_answers),
    Mutant(5, "peer", "        self.unheard += step\n", "        pass\n",
           clocks.a_frozen_sender_loses_nothing_while_the_broker_restarts),
    Mutant(5, "peer", "        self.unheard += step\n", "        self.unheard += step if attended else 0.0\n",
           clocks.a_link_that_is_not_ready_does_not_make_a_frozen_sender_heard),
    # 6: down, told, back
    Mutant(6, "engine", "if peer.silent >= DOWN and not peer.is_down:", "if False:",
           clocks.the_end_of_a_killed_log_is_told_once),
    Mutant(6, "engine", "if peer.silent >= TOLD:", "if False:",
           clocks.the_end_of_a_killed_log_is_told_once),
    Mutant(6, "engine", "                self._live.pop(peer.epoch, None)\n",
           "                peer.is_told = False\n",
           clocks.the_end_of_a_killed_log_is_told_once),
    Mutant(6, "engine", 'other.tell("restarted")', "pass",
           clocks.a_quick_restart_is_told_before_its_first_event),
    Mutant(6, "engine", "                        other.is_told = False\n", "                        pass\n",
           clocks.who_goes_on_unheard_after_it_was_told_lost_is_told_again_when_it_restarts),
    Mutant(6, "engine", "if other.node == peer.node and other is not peer and not other.is_bye:",
           "if other.epoch == old and not other.is_bye:",
           clocks.all_former_logs_are_told_before_a_new_ones_first_event),
    Mutant(6, "peer", "            self.beat_us = sent_us\n            self.is_told = False\n",
           "            self.beat_us = sent_us\n",
           clocks.who_was_told_lost_goes_on_in_place),
    # 7: bye
    Mutant(7, "engine", "outlet.byes = 2 if", "outlet.byes = 1 if",
           clocks.what_was_lost_before_the_goodbye_is_repaired_after_it),
    Mutant(7, "peer", "self.stuck >= BYE_TIMEOUT", "self.stuck >= timeout",
           clocks.what_a_closed_node_took_with_it_is_a_gap_after_a_second),
    Mutant(7, "peer", "            self.stuck, self.tries, self.ask_in = 0.0, 0, 0.0\n", "",
           clocks.the_second_of_a_goodbye_is_a_whole_one),
    # 8: jumps
    Mutant(8, "peer", "        if sent_us > self.newest_us:\n", "        if sent_us == self.beat_us:\n",
           clocks.two_links_of_different_delay_are_no_jump),
    Mutant(8, "peer", "        if sent_us > self.newest_us:\n", "        if False:\n",
           clocks.a_forged_jump_is_refuted),
    Mutant(8, "peer", "self.last, self.held = beat.last, beat.held",
           "self.last, self.held = max(self.last, beat.last), max(self.held, beat.held)",
           brokers.an_untrue_heartbeat_is_taken_back_by_the_next),
    Mutant(8, "peer", "        if false:\n", "        if False:\n",
           clocks.a_forged_jump_is_refuted),
    Mutant(8, "peer", "if self.next > self.last + 1:", "if False:",
           clocks.a_forged_position_is_taken_back),
    Mutant(8, "frame", "not 0 < header.first_seq <= MAX_SEQ - header.count", "False",
           clocks.a_number_above_all_numbers_is_refused),
    Mutant(8, "log", "max(self.newest_us + 1, int(now * 1e6))", "int(now * 1e6)",
           clocks.two_frames_of_one_instant_have_two_stamps),
    # 9: heartbeat
    Mutant(9, "beat", "if len(body) <= control.HEARTBEAT_ROOM:", "if True:",
           nodes.a_hundred_nodes_with_long_names_know_each_other),
    Mutant(9, "engine", "        if header.flags & HELLO:\n", "        if False:\n",
           nodes.a_newcomer_is_answered_at_once),
    Mutant(9, "outlet", "        self.hello = False\n", "",
           nodes.hello_is_said_until_somebody_lists_us),
    Mutant(9, "outlet", "changed[: (most - len(chosen)) // 2]", "changed[: most - len(chosen)]",
           nodes.an_idle_node_among_busy_ones_is_listed),
    Mutant(9, "outlet", "if peer.epoch in self.heard_of]", "]",
           nodes.to_be_listed_proves_that_link_and_no_other),
    Mutant(9, "outlet", "        if sent_us > self._proven_us:\n", "        if True:\n",
           nodes.to_be_listed_proves_that_link_and_no_other),
    Mutant(9, "engine", "if header.sent_us > outlet.heard_of.get(peer.epoch, (0, 0))[1]:",
           "if header.sent_us > peer.beat_us:",
           nodes.a_slow_link_is_proven_beside_a_fast_one),
    Mutant(9, "peer", "- (sent_us - entry.heard_us)", "",
           nodes.the_round_trip_is_measured_without_a_common_clock),
    Mutant(9, "peer", "self.position = max(self.position, entry.position)", "pass",
           nodes.a_peer_says_how_far_it_has_heard_us),
    Mutant(9, "engine", "and entry.sent_us <= self.log.newest_us and", "and",
           brokers.what_we_never_said_nobody_can_have_heard),
    # 10: proof of life
    Mutant(10, "lifecycle", "        if age >= HARD:\n", "        if False:\n",
           nodes.a_link_whose_echo_stays_away_is_degraded_then_rebuilt),
    Mutant(10, "lifecycle", "        if age >= SOFT:\n", "        if False:\n",
           nodes.a_link_whose_echo_stays_away_is_degraded_then_rebuilt),
    Mutant(10, "lifecycle", "        elif hears:\n", "        elif hears and self._proof == 'peers':\n",
           nodes.whom_nobody_lists_is_not_ready),
    Mutant(10, "lifecycle", "                self._retried_alone = True\n", "",
           nodes.who_is_alone_is_ready_after_one_rebuild),
    Mutant(10, "outlet", "        if sent_us > self._up_us:\n", "        if True:\n",
           brokers.an_echo_from_before_the_connection_proves_nothing),
    # 11: loss values
    Mutant(11, "inbox", "        losses.add(Overflow(dropped))\n", "",
           nodes.the_oldest_go_and_are_counted_at_the_head),
    Mutant(11, "inbox", "                for loss in head.items():\n", "                for loss in ():\n",
           nodes.the_oldest_go_and_are_counted_at_the_head),
    Mutant(11, "inbox", "        dropped = len(events) - room\n", "        dropped = len(events)\n",
           nodes.the_newest_go_and_are_counted_where_they_would_have_been),
    Mutant(11, "inbox", '        if self._drop == "close":\n            self.close()\n', "",
           nodes.a_closed_inbox_ends_with_what_it_missed),
    # 12: what cannot be read
    Mutant(12, "frame", "!= header.crc:", "< 0:",
           nodes.a_frame_with_any_bit_flipped_is_as_if_never_received),
    Mutant(12, "frame", "!= array_of(header.count):", "== b'':",
           nodes.a_frame_that_does_not_hold_what_its_header_says_is_refused),
    Mutant(12, "control", "(msgspec.MsgspecError, RecursionError, ", "(msgspec.MsgspecError, ",
           nodes.deep_nesting_in_a_heartbeat_is_refused),
    # 13: names
    Mutant(13, "engine", "            if header.epoch == self.epoch:\n", "            if False:\n",
           nodes.an_echo_is_no_peer),
    Mutant(13, "names", "if epoch in former and now", "if now",
           nodes.eight_restarts_are_no_duplicate),
    Mutant(13, "names", ">= PAUSE:", ">= 0.0:",
           nodes.late_frames_of_the_dead_are_no_duplicate),
    Mutant(13, "engine", "if self._names.beat(self.node, self.epoch, now) is not None:", "if False:",
           nodes.twins_are_told_on_all_sides),
    Mutant(13, "engine", "if is_new or not header.flags & BYE:", "if True:",
           nodes.the_goodbye_of_who_is_down_is_no_rise),
    Mutant(13, "engine", "        if self._names.up.get(peer.node) == peer.epoch:\n",
           "        if self._names.current(peer.node) == peer.epoch:\n",
           nodes.a_late_goodbye_does_not_take_the_name_back),
    # 14: old news
    Mutant(14, "engine", "stamp < outlet.echo_stamp - STALE:", "stamp < 0:",
           nodes.what_the_broker_got_long_before_our_echo_is_stale),
    Mutant(14, "outlet", "if stamp is not None and sent_us > self._echo_us:",
           "if stamp is not None and stamp > self.echo_stamp:",
           brokers.a_brokers_clock_that_is_set_back_makes_nobody_deaf),
    # 15 and 16: versions, too large
    Mutant(15, "engine", "        if epoch not in self.foreign:\n", "        if True:\n",
           nodes.a_peer_without_a_common_version_is_told_once),
    Mutant(16, "engine", "if entry.size > outlet.sizes.max_message:", "if False:",
           nodes.an_event_over_the_links_own_limit_is_a_gap),
    Mutant(16, "engine", "            self.log.bury(seq)\n", "            pass\n",
           nodes.an_event_that_kills_its_link_twice_is_a_gap),
    Mutant(16, "outlet", "newest = (*self._landed, *self.flights)", "newest = (*self.flights,)",
           brokers.an_event_that_is_confirmed_and_kills_the_link_is_a_gap),
    # 18: seal
    Mutant(18, "seal", "is_here = any(", "is_here = True or any(",
           seals.a_recording_of_the_dead_means_nothing_to_a_node_that_just_started),
    Mutant(18, "seal", "is_here = any(", "is_here = True or any(",
           seals.a_recording_of_a_former_run_is_no_restart_and_no_duplicate),
    Mutant(18, "engine", "            return  # perhaps a recording: it says nothing about now\n",
           "            pass\n",
           seals.a_recording_of_the_dead_does_not_keep_them_alive),
    Mutant(18, "seal", 'raise FrameError("unsealed")', "return frame",
           seals.who_has_no_key_or_another_one_is_heard_by_nobody),
    Mutant(18, "seal", "        if clear is None:\n",
           "        if clear is None:\n            clear = frame[:40] + frame[52:-16]\n        if False:\n",
           seals.who_has_no_key_or_another_one_is_heard_by_nobody),
    Mutant(18, "seal", "        if epoch not in outlet.said:\n            outlet.beat_soon(now)\n", "",
           seals.a_newcomer_among_forty_is_heard_by_all_within_a_second),
    Mutant(18, "seal", "                one.said.pop(epoch, None)\n", "                pass\n",
           seals.a_newcomer_among_forty_is_heard_by_all_within_a_second),
    Mutant(18, "engine", "again=bool(named)", "again=False",
           seals.whoever_was_not_named_because_a_frame_was_lost_is_named_again),
    Mutant(18, "seal", "for epoch in reversed(heard)", "for epoch in heard",
           seals.recordings_of_many_do_not_crowd_out_a_newcomer),
    Mutant(18, "seal", "if epoch not in self._silent and len(self._silent) >= MOST:", "if False:",
           seals.recordings_of_many_do_not_crowd_out_a_newcomer),
    Mutant(18, "seal", "            outlet.heard = True\n", "",
           seals.who_is_deaf_outwards_from_the_start_does_not_take_itself_for_alone),
    Mutant(18, "seal", "any(lasting >= NOT_HEARD", "any(lasting < 0",
           seals.who_is_deaf_outwards_from_the_start_does_not_take_itself_for_alone),
    Mutant(18, "seal", "if header.sent_us <= outlet.asked.get((epoch, kind), -1):", "if False:",
           seals.a_request_that_is_carried_again_is_not_answered_again),
    # 19: types
    Mutant(19, "peer", "if self._sink.events(self, header, frame, skip) and not self.is_final:",
           "if self._sink.events(self, header, frame, skip) and False:",
           types.types_that_were_lost_are_asked_for),
    Mutant(19, "catalog", "if wanted.ask_in <= 0 and peer.unheard", "if False and peer.unheard",
           types.types_that_were_lost_are_asked_for),
    Mutant(19, "catalog", "self._wanted[peer.epoch] = Wanted(peer, self._random(SPREAD_MS) / 1e3)", "pass",
           types.a_newcomer_learns_the_types_of_all_before_their_events),
]  # fmt: skip
