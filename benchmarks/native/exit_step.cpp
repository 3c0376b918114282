// One step of a batch of rows of sixgym/EventOffloadExit-v0 at its default parameters, as one loop.
//
// For the benchmark only: what the step costs when everything is fused by hand. The layout of all
// arrays is the environment's own; the caller has checked the parameters.

#include "draws.h"

#include <algorithm>
#include <cmath>

namespace {

constexpr int kVitals = 9, kExits = 4, kSeen = 12, kMetrics = 14, kTraits = 5;
enum { SNR, HELD, SPLIT, BURST, ENERGY, SLOT, EVENT, EXIT, SERVED };
enum { ONE, TAIL, CORRECT, CONFIRMED };

}  // namespace

struct Tables {
  const float* features;   // (events, exits, 3)
  const float* traits;     // (events, 5)
  const float* next_mac;   // (exits)
  const uint64_t* events;  // (events of a slot): words of the generator
  uint64_t gain;
  float prevalence, tail_slope, head_slope;
  int64_t tails, first;
  float first_mac, energy_per_mac, power, bandwidth, min_snr, slot_s, mean_snr, budget, worth, price;
  int64_t num_events, horizon;
};

// The gain of a slot and the uniform of an event.
inline void draw_gain(const Tables& t, uint64_t key, uint64_t slot, float* re, float* im) {
  const uint64_t w = word(key, t.gain, slot);
  const float radius = std::sqrt(-std::log(uniform(w))), angle = lower(w) * kTurn;
  *re = radius * std::cos(angle);
  *im = radius * std::sin(angle);
}

inline float draw_event(const Tables& t, uint64_t key, uint64_t slot, int event) {
  return uniform(word(key, t.events[event], slot + 1));
}

extern "C" void exit_draws(const Tables* tables, int64_t rows, const int64_t* key,
                           const int64_t* step, float* normals, float* uniforms) {
  for (int64_t i = 0; i < rows; ++i) {
    draw_gain(*tables, uint64_t(key[i]), uint64_t(step[i]), normals + 2 * i, normals + 2 * i + 1);
    uniforms[i] = draw_event(*tables, uint64_t(key[i]), uint64_t(step[i]), 0);
  }
}

extern "C" void exit_step(const Tables* tables, int64_t rows, int64_t limit, const int64_t* key,
                          float* fading, int64_t* sample, float* vitals, const int64_t*,
                          int64_t* step, const int64_t* action, float* seen, float* reward,
                          bool* terminated, bool* truncated, float* metrics) {
  const Tables& t = *tables;
  const float total = float(t.horizon) * float(t.num_events) * t.budget;
  const float decade = 1.0f / std::log(10.0f), log_budget = std::log(t.budget);
  for (int64_t i = 0; i < rows; ++i) {
    float* v = vitals + i * kVitals;
    const int exit = int(v[EXIT]);
    float log_snr = std::log1p(v[SNR]);
    float airtime = std::min(t.bandwidth / log_snr, 1e30f);
    const bool was_up = v[SNR] >= t.min_snr;
    const bool sends_fit = was_up && v[SERVED] < std::floor(t.slot_s / airtime);
    const bool allowed = action[i] == 0 || (action[i] == 1 ? exit < kExits - 1 : sends_fit);
    const bool goes_on = action[i] == 1 && allowed;
    const float sent = action[i] == 2 && allowed ? 1.0f : 0.0f, done = goes_on ? 0.0f : 1.0f;
    const float mac = (exit == 0 ? t.first_mac : 0.0f) + (goes_on ? t.next_mac[exit] : 0.0f);
    const float local = t.energy_per_mac * mac, radio = sent * t.power * airtime;
    const float energy = local + radio;
    const float* trait = t.traits + sample[i] * kTraits;
    const float tail = trait[TAIL];
    reward[i] = t.worth * sent * trait[CORRECT] - t.price * energy;

    v[ENERGY] += energy;
    if (goes_on) {
      v[EXIT] += 1.0f;
    } else {
      v[EXIT] = 0.0f;
      v[EVENT] += 1.0f;
      v[SERVED] += sent;
      if (v[EVENT] >= float(t.num_events)) {
        v[EVENT] = v[SERVED] = 0.0f;
        v[SLOT] += 1.0f;
        float re, im;
        draw_gain(t, uint64_t(key[i]), uint64_t(v[SLOT]), &re, &im);
        fading[2 * i] = re;
        fading[2 * i + 1] = im;
        v[SNR] = t.mean_snr * (re * re + im * im);
        log_snr = std::log1p(v[SNR]);
        airtime = std::min(t.bandwidth / log_snr, 1e30f);
      }
      const float u = draw_event(t, uint64_t(key[i]), uint64_t(v[SLOT]), int(v[EVENT]));
      const float a = std::floor(std::min(u * t.tail_slope, float(t.tails)));
      const float b = std::floor(std::max((u - t.prevalence) * t.head_slope, 0.0f));
      sample[i] = int64_t(a + b) + t.first;
    }
    terminated[i] = v[SLOT] >= float(t.horizon);
    truncated[i] = ++step[i] >= limit;

    float* m = metrics + i * kMetrics;
    m[0] = done;
    m[1] = done * tail;
    m[2] = sent * tail;
    m[3] = sent * trait[CORRECT];
    m[4] = sent * (1.0f - tail);
    m[5] = m[4] * trait[CONFIRMED];
    m[6] = sent;
    m[7] = mac;
    m[8] = local;
    m[9] = radio;
    m[10] = energy;
    m[11] = energy / total;
    m[12] = 1.0f;
    m[13] = allowed ? 0.0f : 1.0f;

    float* o = seen + i * kSeen;
    const int now = int(v[EXIT]);
    for (int k = 0; k < kExits; ++k) o[k] = k == now ? 1.0f : 0.0f;
    const float* score = t.features + (sample[i] * kExits + now) * 3;
    o[4] = score[0];
    o[5] = score[1];
    o[6] = score[2];
    const float decibel = std::log(std::max(v[SNR], 1e-6f)) * (10.0f * decade / 30.0f);
    o[7] = std::min(std::max(decibel, -1.0f), 1.0f);
    const float cost = (std::log(t.power * airtime) - log_budget) * (0.5f * decade);
    o[8] = v[SNR] >= t.min_snr ? std::min(std::max(cost, -1.0f), 1.0f) : 1.0f;
    const float begun = v[SLOT] * float(t.num_events) + v[EVENT] + (now > 0 ? 1.0f : 0.0f);
    const float spent = v[ENERGY] / (std::max(begun, 1.0f) * t.budget);
    o[9] = std::min(std::max(spent, 0.0f), 1.0f);
    o[10] = std::max(1.0f - v[SLOT] / float(t.horizon), 0.0f);
    o[11] = 1.0f - v[EVENT] / float(t.num_events);
  }
}
