import dibundle

print(dibundle.create("old.tar", "new.tar", "update.dib").size, "bytes")

with open("again.tar", "wb") as file:
    file.writelines(dibundle.apply(["old.tar", "update.dib"]))

with dibundle.open_bundle("update.dib") as bundle:
    print("makes", bundle.makes[0].sha256)
    print("needs", [image.names for image in bundle.needs])
    large = sorted(bundle.operations(), key=lambda line: -line.stored)[:3]
    print("most of it", [line.path for line in large])

try:
    dibundle.create("old.tar", "update.dib", "another.dib")
except dibundle.DibError as error:
    print(error, error.exit_code, error.hint)
