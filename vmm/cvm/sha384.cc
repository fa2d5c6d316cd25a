#include "vmm/cvm/sha384.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace berth::vmm {
namespace {

constexpr uint64_t kRounds512[80] = {
    0x428a2f98d728ae22, 0x7137449123ef65cd, 0xb5c0fbcfec4d3b2f, 0xe9b5dba58189dbbc, 0x3956c25bf348b538,
    0x59f111f1b605d019, 0x923f82a4af194f9b, 0xab1c5ed5da6d8118, 0xd807aa98a3030242, 0x12835b0145706fbe,
    0x243185be4ee4b28c, 0x550c7dc3d5ffb4e2, 0x72be5d74f27b896f, 0x80deb1fe3b1696b1, 0x9bdc06a725c71235,
    0xc19bf174cf692694, 0xe49b69c19ef14ad2, 0xefbe4786384f25e3, 0x0fc19dc68b8cd5b5, 0x240ca1cc77ac9c65,
    0x2de92c6f592b0275, 0x4a7484aa6ea6e483, 0x5cb0a9dcbd41fbd4, 0x76f988da831153b5, 0x983e5152ee66dfab,
    0xa831c66d2db43210, 0xb00327c898fb213f, 0xbf597fc7beef0ee4, 0xc6e00bf33da88fc2, 0xd5a79147930aa725,
    0x06ca6351e003826f, 0x142929670a0e6e70, 0x27b70a8546d22ffc, 0x2e1b21385c26c926, 0x4d2c6dfc5ac42aed,
    0x53380d139d95b3df, 0x650a73548baf63de, 0x766a0abb3c77b2a8, 0x81c2c92e47edaee6, 0x92722c851482353b,
    0xa2bfe8a14cf10364, 0xa81a664bbc423001, 0xc24b8b70d0f89791, 0xc76c51a30654be30, 0xd192e819d6ef5218,
    0xd69906245565a910, 0xf40e35855771202a, 0x106aa07032bbd1b8, 0x19a4c116b8d2d0c8, 0x1e376c085141ab53,
    0x2748774cdf8eeb99, 0x34b0bcb5e19b48a8, 0x391c0cb3c5c95a63, 0x4ed8aa4ae3418acb, 0x5b9cca4f7763e373,
    0x682e6ff3d6b2b8a3, 0x748f82ee5defb2fc, 0x78a5636f43172f60, 0x84c87814a1f0ab72, 0x8cc702081a6439ec,
    0x90befffa23631e28, 0xa4506cebde82bde9, 0xbef9a3f7b2c67915, 0xc67178f2e372532b, 0xca273eceea26619c,
    0xd186b8c721c0c207, 0xeada7dd6cde0eb1e, 0xf57d4f7fee6ed178, 0x06f067aa72176fba, 0x0a637dc5a2c898a6,
    0x113f9804bef90dae, 0x1b710b35131c471b, 0x28db77f523047d84, 0x32caab7b40c72493, 0x3c9ebe0a15c9bebc,
    0x431d67c49c100d4c, 0x4cc5d4becb3e42b6, 0x597f299cfc657e2a, 0x5fcb6fab3ad6faec, 0x6c44198c4a475817,
};

uint64_t LoadBig(const uint8_t* bytes) {
  uint64_t word = 0;
  for (size_t i = 0; i < sizeof word; ++i) word = word << 8 | bytes[i];
  return word;
}

void StoreBig(uint64_t word, uint8_t* bytes) {
  for (size_t i = sizeof word; i-- > 0; word >>= 8) bytes[i] = static_cast<uint8_t>(word);
}

}  // namespace

Sha384::Sha384()
    : state_{0xcbbb9d5dc1059ed8, 0x629a292a367cd507, 0x9159015a3070dd17, 0x152fecd8f70e5939,
             0x67332667ffc00b31, 0x8eb44a8768581511, 0xdb0c2e0d64f98fa7, 0x47b5481dbefa4fa4} {}

void Sha384::Block(const uint8_t* block) {
  uint64_t w[80];
  for (size_t i = 0; i < 16; ++i) w[i] = LoadBig(block + i * sizeof(uint64_t));
  for (size_t i = 16; i < 80; ++i) {
    const uint64_t s0 = std::rotr(w[i - 15], 1) ^ std::rotr(w[i - 15], 8) ^ (w[i - 15] >> 7);
    const uint64_t s1 = std::rotr(w[i - 2], 19) ^ std::rotr(w[i - 2], 61) ^ (w[i - 2] >> 6);
    w[i] = w[i - 16] + s0 + w[i - 7] + s1;
  }
  auto [a, b, c, d, e, f, g, h] = state_;
  for (size_t i = 0; i < 80; ++i) {
    const uint64_t sum1 = std::rotr(e, 14) ^ std::rotr(e, 18) ^ std::rotr(e, 41);
    const uint64_t t1 = h + sum1 + ((e & f) ^ (~e & g)) + kRounds512[i] + w[i];
    const uint64_t sum0 = std::rotr(a, 28) ^ std::rotr(a, 34) ^ std::rotr(a, 39);
    const uint64_t t2 = sum0 + ((a & b) ^ (a & c) ^ (b & c));
    h = g;
    g = f;
    f = e;
    e = d + t1;
    d = c;
    c = b;
    b = a;
    a = t1 + t2;
  }
  const std::array<uint64_t, 8> add = {a, b, c, d, e, f, g, h};
  for (size_t i = 0; i < 8; ++i) state_[i] += add[i];
}

void Sha384::Update(std::span<const uint8_t> data) {
  while (!data.empty()) {
    const size_t used = length_ % buffer_.size();
    const size_t count = std::min(buffer_.size() - used, data.size());
    std::memcpy(buffer_.data() + used, data.data(), count);
    length_ += count;
    data = data.subspan(count);
    if (used + count == buffer_.size()) Block(buffer_.data());
  }
}

// One bit, zeros, and the length in bits as a number of 16 bytes at the end of the last block.
Sha384Digest Sha384::Finish() {
  constexpr size_t kLengthAt = 112;
  size_t used = length_ % buffer_.size();
  buffer_[used++] = 0x80;
  std::fill(buffer_.begin() + static_cast<ptrdiff_t>(used), buffer_.end(), uint8_t{0});
  if (used > kLengthAt) {
    Block(buffer_.data());
    buffer_.fill(0);
  }
  StoreBig(length_ >> 61, buffer_.data() + kLengthAt);
  StoreBig(length_ << 3, buffer_.data() + kLengthAt + 8);
  Block(buffer_.data());
  Sha384Digest digest;
  for (size_t i = 0; i < 6; ++i) StoreBig(state_[i], digest.data() + 8 * i);
  return digest;
}

Sha384Digest Sha384::Of(std::span<const uint8_t> data) {
  Sha384 hash;
  hash.Update(data);
  return hash.Finish();
}

}  // namespace berth::vmm
