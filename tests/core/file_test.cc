// Files: a reader names what is wrong with a path; a writer leaves the old file or the new one,
// never a part of either and nothing beside it, also where the disk says no.

#include "core/file.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/notes.h"
#include "core/xz.h"
#include "tests/load/checkpoint_builder.h"

namespace pith {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> Listing(const fs::path& directory) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(directory)) {
    names.push_back(entry.path().filename().string());
  }
  return names;
}

std::string TextOf(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

// The code of the error that `call` throws, whose message must name `path`.
std::optional<ErrorCode> CodeOf(const fs::path& path, const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find(path.string()), std::string::npos) << error.what();
    return error.code();
  }
  return std::nullopt;
}

// Writes beyond `bytes` of any file fail with EFBIG while this lives, as they fail on a full disk.
class FileSizeLimit {
 public:
  explicit FileSizeLimit(rlim_t bytes) {
    handler_ = std::signal(SIGXFSZ, SIG_IGN);
    ::getrlimit(RLIMIT_FSIZE, &old_);
    const rlimit limit{.rlim_cur = bytes, .rlim_max = old_.rlim_max};
    EXPECT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  }
  ~FileSizeLimit() {
    ::setrlimit(RLIMIT_FSIZE, &old_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  void (*handler_)(int);
  rlimit old_;
};

TEST(Reading, WholeFiles) {
  const testing::TempDir dir;
  const std::string bytes("a\0\xff\n", 4);
  dir.Write("f", bytes);
  dir.Write("empty", "");
  EXPECT_EQ(ReadFile(dir.path() / "f"), bytes);
  EXPECT_EQ(TextOf(MappedFile(dir.path() / "f")), bytes);
  EXPECT_EQ(ReadFile(dir.path() / "empty"), "");
  EXPECT_TRUE(MappedFile(dir.path() / "empty").bytes().empty());
}

TEST(Reading, RefusesWhatIsNoFile) {
  const testing::TempDir dir;
  const auto both = [](const fs::path& path, ErrorCode code) {
    EXPECT_EQ(CodeOf(path, [&] { ReadFile(path); }), code) << path;
    EXPECT_EQ(CodeOf(path, [&] { MappedFile{path}; }), code) << path;
  };
  both(dir.path() / "absent", ErrorCode::kNotFound);
  both(dir.path() / "no" / "directory", ErrorCode::kNotFound);
  both(dir.path(), ErrorCode::kIo);
  both("/dev/null", ErrorCode::kIo);
  both("/dev/zero", ErrorCode::kIo);
}

TEST(Reading, BoundsTheSize) {
  const testing::TempDir dir;
  dir.Write("f", "12345");
  const fs::path path = dir.path() / "f";
  EXPECT_EQ(ReadFile(path, 5), "12345");
  EXPECT_EQ(CodeOf(path, [&] { ReadFile(path, 4); }), ErrorCode::kCorruptData);
}

TEST(AtomicWriter, CommitReplacesTheFile) {
  const testing::TempDir dir;
  const fs::path path = dir.path() / "f";
  for (const std::string text : {"first, long", "second", ""}) {
    AtomicWriter writer(path);
    writer.Write(text.substr(0, text.size() / 2));
    writer.Write(text.substr(text.size() / 2));
    EXPECT_NE(fs::exists(path) ? ReadFile(path) : "none", text);  // not before the commit
    writer.Commit();
    EXPECT_EQ(ReadFile(path), text);
  }
  EXPECT_EQ(Listing(dir.path()), std::vector<std::string>{"f"});
}

TEST(AtomicWriter, WithoutCommitNothingChanges) {
  const testing::TempDir dir;
  dir.Write("old", "text");
  for (const char* name : {"old", "new"}) {
    AtomicWriter writer(dir.path() / name);
    writer.Write("half of a fi");
  }
  EXPECT_EQ(ReadFile(dir.path() / "old"), "text");
  EXPECT_EQ(Listing(dir.path()), std::vector<std::string>{"old"});
}

TEST(AtomicWriter, TwoAtOnceDoNotMix) {
  const testing::TempDir dir;
  const fs::path path = dir.path() / "f";
  AtomicWriter a(path);
  AtomicWriter b(path);
  a.Write("aaaa");
  b.Write("bb");
  a.Commit();
  EXPECT_EQ(ReadFile(path), "aaaa");
  b.Commit();
  EXPECT_EQ(ReadFile(path), "bb");
  EXPECT_EQ(Listing(dir.path()).size(), 1);
}

// A rename over /dev/full would put a file in the device's place.
TEST(AtomicWriter, RefusesDevicesAndDirectories) {
  const testing::TempDir dir;
  for (const fs::path& path : {fs::path("/dev/full"), fs::path("/dev/null"), dir.path()}) {
    EXPECT_EQ(CodeOf(path, [&] { AtomicWriter{path}; }), ErrorCode::kIo) << path;
  }
  EXPECT_TRUE(fs::is_character_file("/dev/full"));
  EXPECT_TRUE(fs::is_character_file("/dev/null"));
  const fs::path lost = dir.path() / "no-directory" / "f";
  EXPECT_EQ(CodeOf(lost, [&] { AtomicWriter{lost}; }), ErrorCode::kNotFound);
  EXPECT_TRUE(Listing(dir.path()).empty());
}

TEST(AtomicWriter, AFullDiskLosesNothing) {
  const testing::TempDir dir;
  dir.Write("f", "old text");
  const fs::path path = dir.path() / "f";
  const FileSizeLimit limit(4096);
  EXPECT_EQ(CodeOf(path,
                   [&] {
                     AtomicWriter writer(path);
                     writer.Write(std::string(5000, 'x'));
                     writer.Commit();
                   }),
            ErrorCode::kIo);
  EXPECT_EQ(ReadFile(path), "old text");
  EXPECT_EQ(Listing(dir.path()), std::vector<std::string>{"f"});
}

// The directory went away, or something else took the name: the last step can fail, too.
TEST(AtomicWriter, AFailedRenameLeavesNothingBehind) {
  const testing::TempDir dir;
  const fs::path path = dir.path() / "f";
  AtomicWriter writer(path);
  writer.Write("text");
  fs::create_directory(path);
  EXPECT_EQ(CodeOf(path, [&] { writer.Commit(); }), ErrorCode::kIo);
  EXPECT_EQ(Listing(dir.path()), std::vector<std::string>{"f"});
}

TEST(ReadTextFile, SkipsAByteOrderMarkAndSaysSo) {
  const testing::TempDir dir;
  std::vector<std::string> notes;
  ListenToNotes([&](const std::string& note) { notes.push_back(note); });
  const std::string path = (dir.path() / "f").string();
  const auto read = [&](const std::string& content) {
    AtomicWriter writer(path);
    writer.Write(content);
    writer.Commit();
    const std::string text = ReadTextFile(path, 100);
    EXPECT_EQ(ReadDataFile(path), text);
    EXPECT_EQ(ReadFile(path), content) << "bytes stay bytes";
    return text;
  };
  EXPECT_EQ(read("\xEF\xBB\xBF{}"), "{}");
  EXPECT_EQ(notes,
            std::vector<std::string>(2, path + ": skipped the byte-order mark at its start"));
  for (const std::string text : {"", "a", "\xEF\xBB", "a\xEF\xBB\xBF"}) EXPECT_EQ(read(text), text);
  EXPECT_EQ(read("\xEF\xBB\xBF\xEF\xBB\xBF"), "\xEF\xBB\xBF") << "one mark is skipped";
  EXPECT_EQ(notes.size(), 4u);
  ListenToNotes({});
  EXPECT_EQ(read("\xEF\xBB\xBF"), "");
  EXPECT_EQ(notes.size(), 4u);
}

}  // namespace
}  // namespace pith
