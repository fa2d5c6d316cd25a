#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <thread>

#include "common/file.h"
#include "compute-agent/images/disk_source.h"
#include "compute-agent/images/image_header.h"
#include "compute-agent/images/image_store.h"
#include "compute-agent/images/seed_image.h"
#include "tests/fakes/temp_folder.h"

namespace berth::agent {
namespace {

using namespace std::string_literals;

std::string Qcow2(const std::string& backing) {
  std::string head = "QFI\xfb\0\0\0\3"s + std::string(4088, '\0');
  if (backing.empty()) return head;
  head[14] = 0x02;  // the name stands at byte 512
  head[19] = static_cast<char>(backing.size());
  head.replace(512, backing.size(), backing);
  return head;
}

TEST(ImageHeader, AnImageOfAnotherFormatIsRefusedByItsName) {
  EXPECT_EQ(CheckRawImage(Qcow2("/etc/shadow"), "").message(),
            "the image is no raw image but of format qcow2 with the backing file \"/etc/shadow\"");
  EXPECT_EQ(CheckRawImage(Qcow2(""), "").message(), "the image is no raw image but of format qcow2");
  EXPECT_NE(CheckRawImage("vhdxfile", "").message().find("VHDX"), std::string::npos);
  EXPECT_NE(CheckRawImage("KDMV", "").message().find("VMDK"), std::string::npos);
  EXPECT_NE(CheckRawImage(std::string(0x40, ' ') + "\x7f\x10\xda\xbe", "").message().find("VDI"),
            std::string::npos);
  EXPECT_NE(CheckRawImage("\x1f\x8b\x08", "").message().find("gzip"), std::string::npos);
  EXPECT_NE(CheckRawImage(std::string(4096, '\0'), "conectix").message().find("VHD"), std::string::npos);
}

TEST(ImageHeader, RawBytesAreTakenAndLyingHeadersHurtNobody) {
  EXPECT_EQ(CheckRawImage("", ""), OkStatus());
  EXPECT_EQ(CheckRawImage(std::string(4096, '\0'), std::string(512, '\0')), OkStatus());
  std::string far = Qcow2("x");
  for (size_t at = 8; at < 16; ++at) far[at] = '\xff';
  EXPECT_FALSE(CheckRawImage(far, "").ok());
  std::string cut = Qcow2("/x");
  for (size_t length = 0; length < 40; ++length) (void)CheckRawImage(cut.substr(0, length), "");
}

TEST(DiskSource, PathsImagesAndSeedsAreToldApart) {
  const std::string sum(64, 'a');
  auto path = ParseDiskSource("path=/x,readonly=on");
  ASSERT_TRUE(path.has_value());
  EXPECT_EQ(path->kind, DiskSource::Kind::kPath);
  auto image = ParseDiskSource("image=\"/a,b.raw\",sha256=" + sum + ",size=2G,id=root");
  ASSERT_TRUE(image.has_value()) << image.error().ToString();
  EXPECT_EQ(*image, (DiskSource{DiskSource::Kind::kImage, "/a,b.raw", sum, uint64_t{2} << 30, "id=root"}));
  EXPECT_EQ(ParseDiskSource("seed=/seeds/vm1")->kind, DiskSource::Kind::kSeed);
  for (const std::string& bad : {"image=/x"s, "image=x,sha256=" + sum, "image=/x,sha256=" + sum.substr(1),
                                 "image=/x,seed=/y,sha256=" + sum, "image=/x,path=/y,sha256=" + sum,
                                 "path=/x,size=1G"s, "seed=/x,size=1G"s, "image=/x,size=1,sha256=" + sum}) {
    auto refused = ParseDiskSource(bad);
    ASSERT_FALSE(refused.has_value()) << bad;
    EXPECT_EQ(refused.error().field(), "disks") << bad;
  }
}

class ImageStoreTest : public testing::Test {
 protected:
  std::string Image(const std::string& bytes) {
    std::ofstream(path_, std::ios::binary) << bytes;
    return *Sha256OfFile(path_);
  }
  Result<bool> Await(const DiskSource& source, const std::string& disk) {
    while (true) {
      Result<bool> done = store_->Copy(source, disk);
      if (!done.has_value() || *done) return done;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));  // the store's own thread works
    }
  }
  fakes::TempFolder folder_;
  std::string path_ = folder_.path() / "image.raw";
  std::string disk_ = folder_.path() / "disk0.raw";
  std::optional<ImageStore> store_{folder_.path() / "images"};
};

TEST_F(ImageStoreTest, AnImageIsKeptByItsSumAndCopiedAndItsSourceIsNotNeededAgain) {
  const std::string sum = Image("boot" + std::string(3 << 20, '\0') + "end");
  DiskSource source{DiskSource::Kind::kImage, path_, sum, uint64_t{8} << 20, ""};
  ASSERT_EQ(Await(source, disk_).value_or(false), true);
  EXPECT_EQ(std::filesystem::file_size(disk_), uintmax_t{8} << 20);
  std::filesystem::remove(path_);
  source.size = 0;
  const std::string second = folder_.path() / "disk1.raw";
  ASSERT_EQ(Await(source, second).value_or(false), true);
  EXPECT_EQ(*Sha256OfFile(second), sum);
}

TEST_F(ImageStoreTest, ADiskThatIsThereIsNeverCopiedOver) {
  const std::string sum = Image("image");
  std::ofstream(disk_) << "the guest's own";
  ASSERT_EQ(Await({DiskSource::Kind::kImage, path_, sum, 0, ""}, disk_).value_or(false), true);
  EXPECT_EQ(*ReadFile(disk_), "the guest's own");
}

TEST_F(ImageStoreTest, AnotherSumASmallerDiskAndAnotherFormatAreRefusedAndLeaveNothing) {
  const std::string sum = Image("image");
  EXPECT_EQ(Await({DiskSource::Kind::kImage, path_, std::string(64, '0'), 0, ""}, disk_).error().code(),
            StatusCode::kDataLoss);
  ASSERT_TRUE(std::filesystem::is_empty(folder_.path() / "images"));
  EXPECT_EQ(
      Await({DiskSource::Kind::kImage, path_, Image(std::string(4096, 'x')), 512, ""}, disk_).error().code(),
      StatusCode::kInvalidArgument);
  const std::string disguised = Image(Qcow2("/etc/shadow"));
  Result<bool> refused = Await({DiskSource::Kind::kImage, path_, disguised, 0, ""}, disk_);
  EXPECT_NE(refused.error().message().find("backing file"), std::string::npos);
  EXPECT_FALSE(std::filesystem::exists(disk_));
  EXPECT_EQ(Await({DiskSource::Kind::kImage, "/nonexistent", sum, 0, ""}, disk_).error().code(),
            StatusCode::kNotFound);
}

TEST_F(ImageStoreTest, AKeptImageThatHasRottenIsNotCopied) {
  const std::string sum = Image("image");
  std::filesystem::create_directories(folder_.path() / "images");
  std::ofstream(folder_.path() / "images" / sum) << "imagE";
  EXPECT_EQ(Await({DiskSource::Kind::kImage, path_, sum, 0, ""}, disk_).error().code(),
            StatusCode::kDataLoss);
  EXPECT_FALSE(std::filesystem::exists(disk_));
  ASSERT_EQ(Await({DiskSource::Kind::kImage, path_, sum, 0, ""}, disk_).value_or(false), true);
  EXPECT_EQ(*ReadFile(disk_), "image") << "from where it came";
}

// A FIFO would stand still for ever; a sparse file of a terabyte takes long enough.
class LongCopyTest : public ImageStoreTest {
 protected:
  void SetUp() override {
    std::ofstream(path_) << "";
    std::filesystem::resize_file(path_, uintmax_t{1} << 40);
    ASSERT_FALSE(*store_->Copy(long_, disk_));
    while (!std::filesystem::exists(kept_ + ".part")) std::this_thread::yield();
  }
  const DiskSource long_{DiskSource::Kind::kImage, path_, std::string(64, 'a'), 0, ""};
  const std::string kept_ = folder_.path() / "images" / std::string(64, 'a');
};

TEST_F(LongCopyTest, EndsWithTheStore) {
  ASSERT_FALSE(*store_->Copy(long_, folder_.path() / "disk1.raw"));  // waits behind it
  store_.reset();
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path() / "images"));
  EXPECT_FALSE(std::filesystem::exists(disk_));
}

TEST_F(LongCopyTest, EndsWithTheInstance) {
  while (!store_->Forget(folder_.path())) std::this_thread::yield();
  EXPECT_TRUE(std::filesystem::is_empty(folder_.path() / "images"));
  EXPECT_TRUE(store_->Forget(folder_.path()));

  const std::string sum = Image("short");  // another instance with this disk hears nothing of the first
  Result<bool> done = false;
  while (done.has_value() && !*done)
    done = store_->Copy({DiskSource::Kind::kImage, path_, sum, 0, ""}, disk_);
  ASSERT_TRUE(done.has_value()) << done.status().ToString();
  EXPECT_EQ(*ReadFile(disk_), "short");
}

TEST_F(LongCopyTest, GivesWayToAnotherImageOfTheSameDisk) {
  const std::string other = folder_.path() / "other.raw";
  std::ofstream(other) << "other";
  const DiskSource source{DiskSource::Kind::kImage, other, *Sha256OfFile(other), 0, ""};
  Result<bool> done = false;
  while (done.has_value() && !*done) done = store_->Copy(source, disk_);
  ASSERT_TRUE(done.has_value()) << done.status().ToString();
  EXPECT_EQ(*ReadFile(disk_), "other");
}

TEST(Sha256, IsThatOfTheStandard) {
  fakes::TempFolder folder;
  std::string path = folder.path() / "abc";
  std::ofstream(path) << "abc";
  EXPECT_EQ(*Sha256OfFile(path), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

// A reader of FAT12 with long names, by the specification and nothing of the writer.
class FatReader {
 public:
  explicit FatReader(const std::string& image) : image_(image) {}
  size_t Number(size_t at, size_t bytes) const {
    size_t value = 0;
    for (size_t i = bytes; i-- > 0;) value = value << 8 | static_cast<unsigned char>(image_.at(at + i));
    return value;
  }
  std::string label() const { return image_.substr(43, 11); }
  size_t root() const { return (Number(14, 2) + Number(16, 1) * Number(22, 2)) * Number(11, 2); }
  size_t data() const { return root() + Number(17, 2) * 32; }
  size_t Next(size_t cluster) const {
    size_t pair = Number(Number(14, 2) * Number(11, 2) + cluster * 3 / 2, 2);
    return cluster % 2 == 0 ? pair & 0xfff : pair >> 4;
  }
  std::map<std::string, std::string> Files() const {
    std::map<std::string, std::string> files;
    std::string name;
    for (size_t at = root(); image_.at(at) != 0; at += 32) {
      if (image_[at + 11] == 0x0f) {
        std::string part;
        for (size_t place : {1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30}) {
          size_t unit = Number(at + place, 2);
          if (unit == 0) break;
          part += static_cast<char>(unit);
        }
        name = part + name;
        continue;
      }
      if (image_[at + 11] != 0x08) files[name] = Content(Number(at + 26, 2), Number(at + 28, 4));
      name.clear();
    }
    return files;
  }
  std::string Content(size_t cluster, size_t size) const {
    std::string content;
    const size_t bytes = Number(13, 1) * Number(11, 2);
    while (content.size() < size) {
      if (cluster < 2 || cluster >= 0xff8) return "broken chain";
      content += image_.substr(data() + (cluster - 2) * bytes, bytes);
      cluster = Next(cluster);
    }
    if (size > 0 && cluster < 0xff8) return "chain too long";
    return content.substr(0, size);
  }

 private:
  const std::string& image_;
};

TEST(SeedImage, HoldsTheFilesUnderTheirNamesAndTheLabelThatCloudInitLooksFor) {
  SeedFiles files = {{"user-data", "#cloud-config\n"},
                     {"meta-data", std::string(2048, 'm')},
                     {"network-config", std::string(5000, 'n')},
                     {"vendor-data", ""}};
  auto image = MakeSeedImage(files);
  ASSERT_TRUE(image.has_value()) << image.error().ToString();
  FatReader reader(*image);
  EXPECT_EQ(reader.label(), "CIDATA     ");
  EXPECT_EQ(reader.Files(), files);
  EXPECT_EQ(image->size(), reader.Number(19, 2) * 512);
  EXPECT_EQ(*MakeSeedImage(files), *image);
}

TEST(SeedImage, FilesOfEverySizeComeBack) {
  for (size_t size : {size_t{1}, size_t{2047}, size_t{2048}, size_t{2049}, size_t{300'000}, kMaxSeedBytes}) {
    SeedFiles files = {{"user-data", std::string(size, 'u')}};
    auto image = MakeSeedImage(files);
    ASSERT_TRUE(image.has_value()) << size;
    EXPECT_EQ(FatReader(*image).Files(), files) << size;
  }
  EXPECT_EQ(MakeSeedImage({{"user-data", std::string(kMaxSeedBytes + 1, 'u')}}).error().code(),
            StatusCode::kOutOfRange);
}

TEST(SeedImage, AFolderWithoutUserDataIsNoneAndMetaDataIsMadeWhereThereIsNone) {
  fakes::TempFolder folder;
  EXPECT_EQ(ReadSeed(folder.path(), "id", "vm").error().code(), StatusCode::kNotFound);
  std::ofstream(folder.path() / "user-data") << "#cloud-config\n";
  auto files = ReadSeed(folder.path(), "i-1", "vm");
  ASSERT_TRUE(files.has_value());
  EXPECT_EQ(files->at("meta-data"), "instance-id: i-1\nlocal-hostname: vm\n");
}

}  // namespace
}  // namespace berth::agent
