# Links by the number of a folder.
import os


def act(arena):
    folder = os.open(arena, os.O_RDONLY)
    os.link("grades.csv", "linked.csv", src_dir_fd=folder, dst_dir_fd=folder)
